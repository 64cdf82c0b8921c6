"""What a training run is made of: frozen dataclasses that are checked when they are made.

A recipe names everything that decides the result of a run and nothing of how it is computed, so
that JAX (``jaxnn``) and PyTorch (``torchref``) read the same one. Option names are torch.optim's
and torch.nn's, except for ``learning_rate``.
"""

from jaxnn.recipe.models import VGG as VGG
from jaxnn.recipe.models import FashionMLP as FashionMLP
from jaxnn.recipe.models import LeNet as LeNet
from jaxnn.recipe.models import MnistMLP as MnistMLP
from jaxnn.recipe.models import Model as Model
from jaxnn.recipe.models import ReluStack as ReluStack
from jaxnn.recipe.models import ResNet as ResNet
from jaxnn.recipe.models import TabularMLP as TabularMLP
from jaxnn.recipe.recipe import Augment as Augment
from jaxnn.recipe.recipe import Input as Input
from jaxnn.recipe.recipe import Precision as Precision
from jaxnn.recipe.recipe import Recipe as Recipe
from jaxnn.recipe.training import Clip as Clip
from jaxnn.recipe.training import Loss as Loss
from jaxnn.recipe.training import LossName as LossName
from jaxnn.recipe.training import Optimizer as Optimizer
from jaxnn.recipe.training import OptimizerName as OptimizerName
from jaxnn.recipe.training import Reduction as Reduction
from jaxnn.recipe.training import Schedule as Schedule
from jaxnn.recipe.training import ScheduleName as ScheduleName
