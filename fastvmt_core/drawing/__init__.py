"""A motion without a clip: a drawing, or tracks of points, rendered as a crude clip that is read like any other."""
