# Makes the passwords by which the CRM and its database know each other, in the folder `secrets`. Those that are there are kept:
# the database has them.
set -eu
umask 077
mkdir -p secrets
for name in superuser owner app; do
  [ -s "secrets/$name" ] || od -A n -N 24 -t x1 /dev/urandom | tr -d ' \n' >"secrets/$name"
  # The containers read them as users of their own. Nobody else on this machine comes into the folder.
  chmod 644 "secrets/$name"
done
