#!/usr/bin/env bash
# Installs a headless browser for the report's test, if it is missing and we may; else that test is skipped.
command -v chromedriver >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "no chromedriver: the report is not tested in a browser"; exit 0; }
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
{ "${as_root[@]}" apt-get update -q && DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 \
  || echo "chromium could not be installed: the report is not tested in a browser"
exit 0
