# Puts Node.js ($WANTED, as npm understands it) and npm into /opt/node. The npm registry has
# Node.js itself as packages; a first small pair of Node.js and npm asks it for them.
set -eu
[ -f /run/weir/env.sh ] && . /run/weir/env.sh
case "$(dpkg --print-architecture)" in
    amd64) arch=x64 ;;
    arm64) arch=arm64 ;;
    *) echo "there is no Node.js for $(dpkg --print-architecture) in the npm registry" >&2; exit 1 ;;
esac
registry="${npm_config_registry:-https://registry.npmjs.org}"
fetch() {
    mkdir -p "$2"
    curl -fsSL --retry 3 "$registry/$1" | tar -xz -C "$2" --strip-components=1
}
fetch "node-linux-$arch/-/node-linux-$arch-22.14.0.tgz" /first/node
fetch "npm/-/npm-10.9.2.tgz" /first/npm
first_npm() { /first/node/bin/node /first/npm/bin/npm-cli.js "$@"; }
first_npm install --silent --no-audit --no-fund --no-save --prefix /first/wanted "node-linux-$arch@$WANTED" || {
    echo "the npm registry has no Node.js $WANTED for linux-$arch" >&2
    exit 1
}
mkdir -p /opt/node/bin
cp -a "/first/wanted/node_modules/node-linux-$arch/bin/node" /opt/node/bin/node
[ -d "/first/wanted/node_modules/node-linux-$arch/include" ] && cp -a "/first/wanted/node_modules/node-linux-$arch/include" /opt/node/
major="$(/opt/node/bin/node -p 'process.versions.node.split(".")[0]')"
if [ "$major" -ge 24 ]; then npm=11
elif [ "$major" -ge 18 ]; then npm=10
elif [ "$major" -ge 14 ]; then npm=8
else npm=6
fi
export PATH="/opt/node/bin:/first/node/bin:$PATH"
first_npm install --silent --no-audit --no-fund --global --prefix /opt/node "npm@$npm"
/opt/node/bin/node --version
/opt/node/bin/npm --version
