package tapedeck.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * bars -> features as a Kafka Streams program, everything at its defaults but what the race sets.
 *
 * <p>Settings come from the environment, see {@code tests/bench/race.py}. With PEER_OUTPUT the features are
 * written there, and the windows lie in RocksDB with a cache and a changelog, as the DSL's defaults have
 * them. Without, the windows lie in memory, nothing is written, and a digest of the outputs is taken.
 */
public final class FeaturesApp {
  private static final String WINDOWS = "windows";

  private FeaturesApp() {}

  public static void main(String[] args) throws IOException, InterruptedException {
    Settings settings = Settings.fromEnvironment();
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, settings.group());
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, settings.bootstrap());
    properties.put(StreamsConfig.STATE_DIR_CONFIG, settings.folder().resolve("state").toString());
    properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, settings.guarantee());
    Class<?> raw = Serdes.ByteArraySerde.class;
    properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, raw);
    properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, raw);
    KafkaStreams streams = new KafkaStreams(topology(settings), properties);
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.ERROR) {
            Runtime.getRuntime().halt(1); // the race quotes the log; closing would wait for this thread
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    new CountDownLatch(1).await();
  }

  static Topology topology(Settings settings) throws IOException {
    Sessions sessions = Sessions.read(settings.folder().resolve("sessions.csv"));
    Codec codec = new Codec(Path.of(settings.schemas()), settings.featuresId(), settings.configDigest());
    Progress progress = new Progress(settings.warm(), settings.total(), settings.writes());
    Topology topology = new Topology();
    topology.addSource("bars", settings.bars());
    topology.addProcessor(
        "features",
        () -> new FeaturesProcessor(WINDOWS, sessions, codec, progress, settings.writes()),
        "bars");
    topology.addStateStore(windows(settings.writes()), "features");
    if (settings.writes()) {
      topology.addSink("output", settings.output(), "features");
    }
    return topology;
  }

  private static StoreBuilder<KeyValueStore<String, Window>> windows(boolean durable) {
    if (durable) {
      return Stores.keyValueStoreBuilder(
              Stores.persistentKeyValueStore(WINDOWS), Serdes.String(), Window.serde())
          .withCachingEnabled();
    }
    return Stores.keyValueStoreBuilder(
            Stores.inMemoryKeyValueStore(WINDOWS), Serdes.String(), Window.serde())
        .withLoggingDisabled();
  }
}
