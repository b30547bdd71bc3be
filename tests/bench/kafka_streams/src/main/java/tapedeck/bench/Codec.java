package tapedeck.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/** Avro behind the Confluent prefix through Apache Avro's generic classes, and the outputs' identities. */
final class Codec {
  static final int PREFIX = 5;
  private static final String RULES_VERSION = "rules-1";
  private static final long MINUTE_US = 60_000_000L;

  private final Schema features;
  private final Schema openingRange;
  private final int featuresId;
  private final String configDigest;
  private final GenericDatumReader<GenericRecord> reader;
  private final GenericDatumWriter<GenericRecord> writer;
  private final MessageDigest sha = sha256();
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(512);
  private BinaryDecoder decoder;
  private BinaryEncoder encoder;
  private GenericRecord bar;

  Codec(Path schemas, int featuresId, String configDigest) throws IOException {
    this.features = new Schema.Parser().parse(schemas.resolve("features.avsc").toFile());
    this.openingRange = features.getField("or_state").schema().getTypes().get(1);
    this.featuresId = featuresId;
    this.configDigest = configDigest;
    this.reader = new GenericDatumReader<>(new Schema.Parser().parse(schemas.resolve("bars.avsc").toFile()));
    this.writer = new GenericDatumWriter<>(features);
  }

  /** The bar behind {@code value}; the record is used again by the next call. */
  GenericRecord readBar(byte[] value) {
    decoder = DecoderFactory.get().binaryDecoder(value, PREFIX, value.length - PREFIX, decoder);
    try {
      bar = reader.read(bar, decoder);
      return bar;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** The event id of the features after {@code bar}: streams/identity.py. */
  String identity(Bar bar) {
    String text = "features|" + bar.feed() + "|" + bar.symbol() + "|" + bar.t() + "|0|" + RULES_VERSION
        + "|" + configDigest + "|" + bar.eventId();
    byte[] hash = sha.digest(text.getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(hash, 0, 16);
  }

  byte[] writeFeatures(String id, Bar bar, Window window, Features f) {
    GenericRecord body = new GenericData.Record(features);
    body.put("event_id", id);
    body.put("event_time", bar.t() + MINUTE_US);
    body.put("config_digest", configDigest);
    body.put("rules_version", RULES_VERSION);
    body.put("inputs", List.of(bar.eventId()));
    body.put("symbol", bar.symbol());
    body.put("feed", bar.feed());
    body.put("t", bar.t());
    body.put("as_of", bar.t() + MINUTE_US);
    body.put("revision", 0);
    body.put("bar_revision", bar.revision());
    body.put("session_date", (int) window.date);
    body.put("close", bar.close());
    body.put("volume", bar.volume());
    body.put("bars", (int) f.bars);
    body.put("ready", f.ready);
    body.put("crosses_session", f.crosses);
    body.put("suspect_split", f.split);
    put(body, "sma20", f.smaShort);
    put(body, "sma50", f.smaLong);
    body.put("trend_state", Double.isNaN(f.trend) ? null : (int) f.trend);
    put(body, "distance_sma20", f.distanceShort);
    put(body, "distance_sma50", f.distanceLong);
    put(body, "recent_vol", f.recent);
    put(body, "baseline_vol", f.baseline);
    put(body, "vol_ratio", f.volRatio);
    put(body, "volume_ratio", f.volumeRatio);
    body.put("volume_surge", Double.isNaN(f.volumeRatio) ? null : f.surges());
    put(body, "rsi14", f.rsi);
    put(body, "macd", f.macd);
    put(body, "macd_signal", f.macdSignal);
    put(body, "macd_hist", f.macdHist);
    put(body, "bb_upper", f.upper);
    put(body, "bb_lower", f.lower);
    put(body, "bb_position", f.position);
    put(body, "atr14", f.atr);
    put(body, "vwap", f.vwap);
    put(body, "momentum_5", f.momentumShort);
    put(body, "momentum_15", f.momentumLong);
    put(body, "or_high", f.rangeHigh);
    put(body, "or_low", f.rangeLow);
    body.put("or_state", f.range == null ? null : new GenericData.EnumSymbol(openingRange, f.range));
    put(body, "gap_pct", f.gap);
    put(body, "prev_move", f.previousMove);
    return encoded(body);
  }

  private static void put(GenericRecord body, String name, double value) {
    body.put(name, Double.isNaN(value) ? null : value);
  }

  private byte[] encoded(GenericRecord body) {
    bytes.reset();
    bytes.writeBytes(ByteBuffer.allocate(PREFIX).put((byte) 0).putInt(featuresId).array());
    encoder = EncoderFactory.get().binaryEncoder(bytes, encoder);
    try {
      writer.write(body, encoder);
      encoder.flush();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return bytes.toByteArray();
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException(error);
    }
  }
}
