"""A generic gRPC-JSON transcoder: serves gRPC services over HTTP by their ``google.api.http`` annotations.

It knows no endpoint by name. What annotations can't say (error bodies, statuses, framings, names) is
declared in protos with the options of ``runner/gateway/v1/options.proto``::

    capture = HandlerCapture()
    library_pb2_grpc.add_LibraryServicer_to_server(Library(), capture)
    app = Gateway(handlers=capture)  # an ASGI application

See ``metadata`` for what servicers see of HTTP headers and how they shape replies, ``errors.Reason`` for
what the gateway refuses by itself.
"""

from gateway.admission import Admission, Admit
from gateway.annotations import AnnotationError
from gateway.app import Gateway
from gateway.asking import AskingInterceptor
from gateway.call import Call
from gateway.channel import Channel
from gateway.dispatch import Backend, HandlerCapture, InProcess
from gateway.errors import Failure, Reason
from gateway.http_reply import HttpReply
from gateway.metadata import DEFAULT_ALLOWED
from gateway.observation import Observation, Observer
from gateway.observing import access_log
from gateway.options import GatewayOptions
from gateway.pools import ReflectionError, pool_of, reflected
from gateway.routes import RouteConflict

__all__ = [
    "DEFAULT_ALLOWED",
    "Admission",
    "Admit",
    "AnnotationError",
    "AskingInterceptor",
    "Backend",
    "Call",
    "Channel",
    "Failure",
    "Gateway",
    "GatewayOptions",
    "HandlerCapture",
    "HttpReply",
    "InProcess",
    "Observation",
    "Observer",
    "Reason",
    "ReflectionError",
    "RouteConflict",
    "access_log",
    "pool_of",
    "reflected",
]
