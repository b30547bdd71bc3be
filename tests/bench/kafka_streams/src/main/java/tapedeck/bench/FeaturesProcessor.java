package tapedeck.bench;

import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** One feature event per bar. The bars of the race have no revisions, so none are looked for. */
final class FeaturesProcessor implements Processor<byte[], byte[], byte[], byte[]> {
  private final String store;
  private final Sessions sessions;
  private final Codec codec;
  private final Progress progress;
  private final boolean writes;
  private final Features features = new Features();
  private ProcessorContext<byte[], byte[]> context;
  private KeyValueStore<String, Window> windows;

  FeaturesProcessor(String store, Sessions sessions, Codec codec, Progress progress, boolean writes) {
    this.store = store;
    this.sessions = sessions;
    this.codec = codec;
    this.progress = progress;
    this.writes = writes;
  }

  @Override
  public void init(ProcessorContext<byte[], byte[]> context) {
    this.context = context;
    this.windows = context.getStateStore(store);
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    if (record.value() == null) {
      return; // a watermark of the stages that wait for one
    }
    GenericRecord body = codec.readBar(record.value());
    Bar bar = Bar.of(body);
    Sessions.Session session = sessions.at(bar.t());
    if (session == null) {
      return;
    }
    String key = bar.feed() + "|" + bar.symbol();
    Window window = windows.get(key);
    if (window == null) {
      window = new Window();
    }
    window.fold(bar, session);
    features.compute(window, bar);
    String id = codec.identity(bar);
    byte[] value = codec.writeFeatures(id, bar, window, features);
    if (writes) {
      context.forward(record.withValue(value));
    } else {
      progress.digest(id, record.key(), value);
    }
    windows.put(key, window);
    progress.bar();
  }
}
