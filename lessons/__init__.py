"""A course in fifteen steps, from the chain rule to CUDA kernels: `python -m lessons`.

A folder for each lesson: `lesson.py` to read and run, `exercise.py` to edit. The rest
of a folder, and `kit/`, is what checks the answers.
"""
