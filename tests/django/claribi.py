"""A small clariBI on the real Django REST Framework, to test the connector against.

The vendor's API is built on this framework. Paging, throttling, the redirect for a missing slash,
JSON web tokens and the bodies of errors are the libraries' own here, so that a mistake in our idea
of them cannot hide in a simulator that shares it.

It listens on a free port of the loopback interface, prints one line, `{"base_url": "..."}`, once it
is ready, and ends when its standard input is closed, so that a killed test leaves no process.
"""

import argparse
import datetime
import json
import sys
import threading
import uuid

import django
from django.conf import settings

API_KEY = "claribi_sk_sandbox"
# A key that is good, and that nothing but its own account may be read with.
API_KEY_WITHOUT_PERMISSIONS = "claribi_sk_sandbox_no_permissions"
EMAIL = "sandbox@example.com"
PASSWORD = "sandbox-password"


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=45, help="how many records each list has")
    parser.add_argument("--throttle", metavar="RATE", help="a rate such as 5/hour or 2/second")
    parser.add_argument("--ids", choices=["int", "uuid"], default="int")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="be wrong about the scheme the client speaks, as behind a proxy that ends TLS",
    )
    parser.add_argument("--access-seconds", type=float, default=3600, help="life of access tokens")
    return parser.parse_args()


arguments = read_arguments()

settings.configure(
    SECRET_KEY="no secret: this server holds made-up records and serves one test",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    AUTHENTICATION_BACKENDS=[f"{__name__}.OneUserBackend"],
    # Set by the wrapper around the application, never by a client.
    SECURE_PROXY_SSL_HEADER=("claribi.forwarded_scheme", "https"),
    USE_TZ=True,
    # A line on standard error for each refused request would bury what the test has to say.
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "loggers": {"django": {"handlers": ["stderr"], "level": "ERROR"}},
    },
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_THROTTLE_RATES": {"user": arguments.throttle},
    },
    SIMPLE_JWT={"ACCESS_TOKEN_LIFETIME": datetime.timedelta(seconds=arguments.access_seconds)},
)
django.setup()

# The libraries read the settings when they are imported.
from django.contrib.auth.models import User  # noqa: E402
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import Http404  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.authentication import BaseAuthentication  # noqa: E402
from rest_framework.exceptions import AuthenticationFailed  # noqa: E402
from rest_framework.generics import GenericAPIView  # noqa: E402
from rest_framework.pagination import PageNumberPagination  # noqa: E402
from rest_framework.permissions import BasePermission, IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.throttling import UserRateThrottle  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.authentication import (  # noqa: E402
    JWTStatelessUserAuthentication,
)
from rest_framework_simplejwt.serializers import (  # noqa: E402
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)
from rest_framework_simplejwt.tokens import RefreshToken  # noqa: E402
from rest_framework_simplejwt.views import TokenViewBase  # noqa: E402


class OneUserBackend:
    """Knows the one user without a database."""

    def authenticate(self, request, email=None, password=None):
        if (email, password) == (EMAIL, PASSWORD):
            return User(pk=1, username=EMAIL, email=EMAIL)
        return None


class ApiKeyAuthentication(BaseAuthentication):
    """Takes a key in each of the three places that the vendor's pages name."""

    def authenticate(self, request):
        key = self.key_of(request)
        if key is None:
            return None
        if key not in (API_KEY, API_KEY_WITHOUT_PERMISSIONS):
            raise AuthenticationFailed("Invalid API key.")
        # The throttle counts by the primary key of the user.
        return User(pk=key, username=key), key

    def key_of(self, request):
        if "X-API-Key" in request.headers:
            return request.headers["X-API-Key"]
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Api-Key" or (scheme == "Bearer" and value.startswith("claribi_")):
            return value
        return None

    def authenticate_header(self, request):
        # Without this the framework would answer 403 instead of 401.
        return "Api-Key"


class MayRead(BasePermission):
    """Keeps the key without permissions from everything but its own account."""

    def has_permission(self, request, view):
        return request.auth != API_KEY_WITHOUT_PERMISSIONS or isinstance(view, AuthStatus)


class Pages(PageNumberPagination):
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


class EmailLogin(TokenObtainPairSerializer):
    username_field = "email"


class RefreshWithoutDatabase(TokenRefreshSerializer):
    def validate(self, attrs):
        return {"access": str(RefreshToken(attrs["refresh"]).access_token)}


class GuardedView(APIView):
    authentication_classes = [ApiKeyAuthentication, JWTStatelessUserAuthentication]
    permission_classes = [IsAuthenticated, MayRead]
    throttle_classes = [UserRateThrottle]


class AuthStatus(GuardedView):
    def get(self, request):
        user = {
            "id": record_id("user", 0),
            "email": EMAIL,
            "first_name": "Sam",
            "last_name": "Sand",
            "role": "administrator",
        }
        organization = {
            "id": record_id("organization", 0),
            "name": "Sandbox Ltd",
            "plan": "professional",
            "ai_credits_remaining": 1347,
        }
        return Response({"user": user, "organization": organization})


class BillingUsage(GuardedView):
    def get(self, request):
        return Response(
            {
                "subscription_tier": "professional",
                "subscription_status": "active",
                "ai_credits_used": 153,
                "ai_credits_limit": 1500,
                "ai_credits_remaining": 1347,
                "data_sources_used": arguments.records,
                "data_sources_limit": 15,
                "period_start": "2025-07-01",
                "period_end": "2025-07-31",
                "trial_ends_at": None,
            }
        )


class RecordList(GuardedView, GenericAPIView):
    pagination_class = Pages
    records = []
    filters = []
    text_field = "name"

    def get(self, request):
        wanted = {name: request.query_params.get(name) for name in self.filters}
        records = [
            record
            for record in self.records
            if all(value is None or record[name] == value for name, value in wanted.items())
        ]
        search = request.query_params.get("search", "").lower()
        if search:
            records = [record for record in records if search in record[self.text_field].lower()]
        return self.get_paginated_response(self.paginate_queryset(records))


class RecordDetail(GuardedView):
    records = []

    def get(self, request, record_id):
        for record in self.records:
            if str(record["id"]) == record_id:
                return Response(record)
        raise Http404


def record_id(kind, index):
    if arguments.ids == "uuid":
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{index}"))
    return index + 1


def instant(index):
    start = datetime.datetime(2025, 3, 10, 14, 20, tzinfo=datetime.timezone.utc)
    return (start + datetime.timedelta(hours=index)).isoformat().replace("+00:00", "Z")


def data_source(index):
    return {
        "id": record_id("data-source", index),
        "name": f"Source {index}",
        "type": ["database", "api", "file", "cloud"][index % 4],
        "engine": ["postgresql", "google_analytics", "csv", "bigquery"][index % 4],
        "status": ["active", "active", "paused", "error"][index % 4],
        "last_synced_at": None if index % 5 == 0 else instant(index + 48),
        "created_at": instant(index),
    }


def report(index):
    status = ["completed", "completed", "generating", "failed"][index % 4]
    is_completed = status == "completed"
    identity = record_id("report", index)
    return {
        "id": identity,
        "title": f"Report {index}",
        "status": status,
        "output_format": "pdf",
        "download_url": f"/api/reports/{identity}/download/" if is_completed else None,
        "created_at": instant(index),
        "completed_at": instant(index + 1) if is_completed else None,
    }


def dashboard(index):
    return {
        "id": record_id("dashboard", index),
        "name": f"Dashboard {index}",
        "status": ["active", "draft", "archived"][index % 3],
        "is_public": index % 7 == 0,
        "created_at": instant(index),
        "updated_at": instant(index + 24),
    }


def record_paths(name, make, **options):
    records = [make(index) for index in range(arguments.records)]
    return [
        path(f"api/{name}/", RecordList.as_view(records=records, **options)),
        path(f"api/{name}/<str:record_id>/", RecordDetail.as_view(records=records)),
    ]


urlpatterns = [
    path("api/auth/status/", AuthStatus.as_view()),
    path("api/auth/login/", TokenViewBase.as_view(serializer_class=EmailLogin)),
    path("api/auth/token/refresh/", TokenViewBase.as_view(serializer_class=RefreshWithoutDatabase)),
    path("api/billing/usage/", BillingUsage.as_view()),
    *record_paths("data-sources", data_source, filters=["status", "type"]),
    *record_paths("reports", report, filters=["status"], text_field="title"),
    *record_paths("dashboards", dashboard, filters=["status"]),
]


class QuietHandler(WSGIRequestHandler):
    # The head and the body of an answer are written apart; the body shall not wait for the client
    # to acknowledge the head.
    disable_nagle_algorithm = True

    def log_message(self, format, *values):
        pass


def main():
    application = get_wsgi_application()

    # Behind a proxy that ends TLS, the framework writes `http` into links for clients that speak
    # `https`. Tests speak `http`, so here it is the other way round; the host is right both times.
    def with_scheme(environ, start_response):
        if arguments.behind_proxy:
            environ["claribi.forwarded_scheme"] = "https"
        return application(environ, start_response)

    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    server.set_app(with_scheme)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"base_url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
