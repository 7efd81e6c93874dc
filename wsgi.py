"""The WSGI application, for any server: `gunicorn wsgi:app`."""
