"""Layers with torch.nn's semantics and default initialization, channels last."""

from jaxnn.nn.activations import log_softmax as log_softmax
from jaxnn.nn.conv import Conv2d as Conv2d
from jaxnn.nn.conv import conv2d as conv2d
from jaxnn.nn.conv_block import conv_relu_pool as conv_relu_pool
from jaxnn.nn.conv_method import conv_method as conv_method
from jaxnn.nn.dropout import Dropout as Dropout
from jaxnn.nn.dropout import DropoutMask as DropoutMask
from jaxnn.nn.linear import Flatten as Flatten
from jaxnn.nn.linear import Linear as Linear
from jaxnn.nn.normalization import BatchNorm1d as BatchNorm1d
from jaxnn.nn.normalization import BatchNorm2d as BatchNorm2d
from jaxnn.nn.pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from jaxnn.nn.pooling import AvgPool2d as AvgPool2d
from jaxnn.nn.pooling import MaxPool2d as MaxPool2d
