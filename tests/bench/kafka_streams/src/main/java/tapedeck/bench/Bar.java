package tapedeck.bench;

import org.apache.avro.generic.GenericRecord;

/** A bar as the mathematics take it: UTC microseconds, USD, shares. */
record Bar(
    String eventId, String symbol, String feed, long t, int revision,
    double open, double high, double low, double close, double volume) {

  static Bar of(GenericRecord body) {
    return new Bar(
        body.get("event_id").toString(), body.get("symbol").toString(), body.get("feed").toString(),
        (Long) body.get("t"), (Integer) body.get("revision"),
        (Double) body.get("open"), (Double) body.get("high"), (Double) body.get("low"),
        (Double) body.get("close"), (Double) body.get("volume"));
  }
}
