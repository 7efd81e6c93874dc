"""The WSGI application for any server: `gunicorn wsgi:app`, configured by CHRONOS_CONFIG."""

import os

from chronos_api.app import create_app
from chronos_api.settings import settings_from
from chronos_common.config import default_path, load_config

app = create_app(settings_from(load_config(default_path(os.environ), os.environ)))
