#!/bin/bash
# Starts a broker of the variables KAFKA_*: an underscore is a dot, two are an underscore, three a dash.
set -eu
settings=$HOME/server.properties
: > "$settings"
while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS | KAFKA_OPTS | KAFKA_CLUSTER_ID) continue ;;
    KAFKA_*) ;;
    *) continue ;;
  esac
  key=$(printf '%s' "${name#KAFKA_}" | tr '[:upper:]' '[:lower:]' | sed 's/___/-/g; s/__/%/g; s/_/./g; s/%/_/g')
  printf '%s=%s\n' "$key" "$value" >> "$settings"
done < <(env)
run=/opt/kafka/bin/kafka-run-class.sh
"$run" kafka.tools.StorageTool format --ignore-formatted --cluster-id "$CLUSTER_ID" --config "$settings"
export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx512m} LOG_LEVEL=info
exec "$run" kafka.Kafka "$settings"
