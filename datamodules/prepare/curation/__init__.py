"""From a raw file to its clips: what it shows, where its shots end, what is cropped, how it scores."""
