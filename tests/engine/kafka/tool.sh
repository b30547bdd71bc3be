#!/bin/sh
# Runs a class of Kafka: kafka-run-class.sh CLASS [ARGUMENT ...]
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xmx256m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
  -Dorg.slf4j.simpleLogger.defaultLogLevel="${LOG_LEVEL:-warn}" -cp '/opt/kafka/libs/*' "$@"
