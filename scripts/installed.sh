#!/bin/sh
# After an installation into the running system: make the group, tell systemd.
set -eu
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers
elif ! getent group sextant >/dev/null; then
	groupadd --system sextant
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	echo "start it with: systemctl enable --now sextant.socket sextant.service"
fi
