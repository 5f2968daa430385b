#!/bin/sh
# Serves /app as files on $PORT. WEIR_SINGLE_PAGE=1 answers unknown paths with index.html.
set -eu
port="${PORT:-8000}"
if [ -f /app/404.html ]; then
    fallback='=404'; error='error_page 404 /404.html;'
elif [ "${WEIR_SINGLE_PAGE:-}" = 1 ]; then
    fallback='/index.html'; error=''
else
    fallback='=404'; error=''
fi
cat >/tmp/nginx.conf <<EOF
worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    charset utf-8;
    sendfile on;
    tcp_nopush on;
    server_tokens off;
    absolute_redirect off;
    access_log off;
    keepalive_timeout 75s;
    client_body_temp_path /tmp/nginx-body;
    proxy_temp_path /tmp/nginx-proxy;
    fastcgi_temp_path /tmp/nginx-fastcgi;
    uwsgi_temp_path /tmp/nginx-uwsgi;
    scgi_temp_path /tmp/nginx-scgi;
    gzip on;
    gzip_vary on;
    gzip_min_length 1024;
    gzip_types text/plain text/css text/javascript application/javascript application/json application/xml application/wasm image/svg+xml;
    types { text/javascript mjs; application/manifest+json webmanifest; }
    server {
        listen 0.0.0.0:$port;
        root /app;
        index index.html;
        $error
        location / { try_files \$uri \$uri.html \$uri/ $fallback; }
        # Files that begin with a dot are not for visitors.
        location ~ /\.(?!well-known/) { return 404; }
    }
}
EOF
exec nginx -c /tmp/nginx.conf
