"""Arrays -> figures and pages, without a display; matplotlib is loaded when the first figure is drawn."""

from jaxnn.plots.curves import Curve as Curve
from jaxnn.plots.curves import learning_rate as learning_rate
from jaxnn.plots.curves import loss_and_accuracy as loss_and_accuracy
from jaxnn.plots.curves import training_curves as training_curves
from jaxnn.plots.figures import png as png
from jaxnn.plots.grids import filters as filters
from jaxnn.plots.grids import images as images
from jaxnn.plots.grids import predictions as predictions
from jaxnn.plots.lessons import lesson_figures as lesson_figures
from jaxnn.plots.matrix import confusion as confusion
from jaxnn.plots.surface_page import surface_page as surface_page
