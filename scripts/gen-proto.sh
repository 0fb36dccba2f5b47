#!/usr/bin/env bash
# Regenerates src/codec/protobuf/gen from proto/. The result is checked in, so only who changes a .proto file needs
# protoc (Debian: protobuf-compiler). 64-bit fields become bigint; field names stay as the protocol spells them.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v protoc >/dev/null || { echo "protoc is missing: apt-get install protobuf-compiler" >&2; exit 1; }
out=src/codec/protobuf/gen
rm -rf "$out"
mkdir -p "$out"
protoc \
  --plugin=protoc-gen-ts_proto=node_modules/.bin/protoc-gen-ts_proto \
  --proto_path=proto \
  --ts_proto_out="$out" \
  --ts_proto_opt=forceLong=bigint,enumsAsLiterals=true,snakeToCamel=false,outputServices=none,outputJsonMethods=false,outputPartialMethods=false,esModuleInterop=true,importSuffix=.ts,useExactTypes=false,unrecognizedEnum=false \
  mvccpb/kv.proto etcdserverpb/rpc.proto grpc/health/v1/health.proto harmonydb/native.proto harmonydb/api.proto harmonydb/peer.proto
