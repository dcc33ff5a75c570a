"""Video and image files in and out, by PyAV and OpenCV, with limits: a hostile file costs an error, not the machine."""
