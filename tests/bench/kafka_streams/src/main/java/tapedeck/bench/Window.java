package tapedeck.bench;

import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/**
 * The window of one (feed, symbol): the closes, volumes and returns of the newest 136 bars and what the
 * recursive indicators and the session leave behind. streams/windows/kernel.py in plain Java, without the
 * roll-back: it keeps a third of the bytes.
 */
final class Window {
  static final int RING = 136;
  static final int GAIN = 0;
  static final int LOSS = 1;
  static final int FAST = 2;
  static final int SLOW = 3;
  static final int SIGNAL = 4;
  static final int ATR = 5;
  private static final int RECURSIVE = 6;
  private static final int BYTES = 8 * (8 + 10 + 2 * RECURSIVE + 3 * RING);
  private static final long MINUTE_US = 60_000_000L;
  private static final long RETURN_GAP = 5 * MINUTE_US;
  private static final long OPENING_RANGE = 30 * MINUTE_US;

  long count;
  long date = Long.MIN_VALUE + 1;
  long open;
  long close;
  long previousCount;
  long sessionCount;
  long lastT;
  long lastRevision;
  double previousFirstOpen = Double.NaN;
  double previousLastClose = Double.NaN;
  double firstOpen = Double.NaN;
  double lastClose = Double.NaN;
  double rangeHigh = Double.NaN;
  double rangeLow = Double.NaN;
  double[] value = new double[2];
  double[] traded = new double[2];
  double[] seededBefore = new double[RECURSIVE];
  double[] seededToday = new double[RECURSIVE];
  double[] closes = new double[RING];
  double[] volumes = new double[RING];
  double[] moves = new double[RING];

  /** Takes in the next bar; {@code session} is the one that it lies in. */
  void fold(Bar bar, Sessions.Session session) {
    if (count == 0 || session.date() != date) {
      turn(session);
    }
    int at = (int) (count % RING);
    double last = bar.close();
    double trueRange = bar.high() - bar.low();
    double move = Double.NaN;
    if (count > 0) {
      last = closes[(int) ((count - 1) % RING)];
      if (sessionCount > 0) {
        trueRange =
            Math.max(Math.max(trueRange, Math.abs(bar.high() - last)), Math.abs(bar.low() - last));
        if (bar.t() - lastT <= RETURN_GAP) {
          move = bar.close() / last - 1.0;
        }
      }
    }
    closes[at] = bar.close();
    volumes[at] = bar.volume();
    moves[at] = move;
    foldSession(bar);
    recurse(seededBefore, count + 1, bar.close(), last, trueRange);
    recurse(seededToday, sessionCount + 1, bar.close(), last, trueRange);
    lastT = bar.t();
    lastRevision = bar.revision();
    count++;
    sessionCount++;
  }

  private void foldSession(Bar bar) {
    if (Double.isNaN(firstOpen)) {
      firstOpen = bar.open();
    }
    lastClose = bar.close();
    if (bar.t() < open + OPENING_RANGE) {
      rangeHigh = Double.isNaN(rangeHigh) ? bar.high() : Math.max(rangeHigh, bar.high());
      rangeLow = Double.isNaN(rangeLow) ? bar.low() : Math.min(rangeLow, bar.low());
    }
    add(value, (bar.high() + bar.low() + bar.close()) / 3.0 * bar.volume());
    add(traded, bar.volume());
  }

  private void turn(Sessions.Session session) {
    boolean follows = count > 0 && date == session.previousDate();
    long kept = follows ? sessionCount : 0;
    double[][] rings = {closes, volumes, moves};
    for (int each = 0; each < rings.length; each++) {
      double[] turned = new double[RING];
      for (long k = Math.max(0, kept - RING); k < kept; k++) {
        turned[(int) (k % RING)] = rings[each][(int) ((previousCount + k) % RING)];
      }
      rings[each] = turned;
    }
    closes = rings[0];
    volumes = rings[1];
    moves = rings[2];
    previousFirstOpen = follows ? firstOpen : Double.NaN;
    previousLastClose = follows ? lastClose : Double.NaN;
    seededBefore = follows ? seededToday : new double[RECURSIVE];
    seededToday = new double[RECURSIVE];
    count = kept;
    previousCount = kept;
    sessionCount = 0;
    date = session.date();
    open = session.open();
    close = session.close();
    firstOpen = lastClose = rangeHigh = rangeLow = Double.NaN;
    value = new double[2];
    traded = new double[2];
  }

  /** Adds to a double-double, so that a session's sums do not depend on their length. */
  private static void add(double[] sum, double x) {
    double high = sum[0];
    double total = high + x;
    double back = total - high;
    double low = sum[1] + ((high - (total - back)) + (x - back));
    sum[0] = total + low;
    sum[1] = low - (sum[0] - total);
  }

  /** A recursive mean: the plain mean of the first {@code window}, then Wilder's (take 1) or an EMA (2). */
  private static double seeded(double value, double x, long n, int window, double take) {
    if (n < window) {
      return value + x;
    }
    if (n == window) {
      return (value + x) / window;
    }
    double keep = window - 1.0;
    return (keep * value + take * x) / (keep + take);
  }

  private static void recurse(double[] r, long n, double close, double last, double trueRange) {
    if (n > 1) {
      double change = close - last;
      r[GAIN] = seeded(r[GAIN], Math.max(change, 0.0), n - 1, Features.RSI, 1.0);
      r[LOSS] = seeded(r[LOSS], Math.max(-change, 0.0), n - 1, Features.RSI, 1.0);
    }
    r[FAST] = seeded(r[FAST], close, n, Features.MACD_FAST, 2.0);
    r[SLOW] = seeded(r[SLOW], close, n, Features.MACD_SLOW, 2.0);
    if (n >= Features.MACD_SLOW) {
      long number = n - Features.MACD_SLOW + 1;
      r[SIGNAL] = seeded(r[SIGNAL], r[FAST] - r[SLOW], number, Features.MACD_SIGNAL, 2.0);
    }
    r[ATR] = seeded(r[ATR], trueRange, n, Features.ATR, 1.0);
  }

  /** The window as one value of fixed size. */
  static Serde<Window> serde() {
    return Serdes.serdeFrom(
        (topic, window) -> window == null ? null : window.toBytes(),
        (topic, bytes) -> bytes == null ? null : fromBytes(bytes));
  }

  private double[][] parts() {
    return new double[][] {value, traded, seededBefore, seededToday, closes, volumes, moves};
  }

  private byte[] toBytes() {
    ByteBuffer out = ByteBuffer.allocate(BYTES);
    out.putLong(count).putLong(date).putLong(open).putLong(close);
    out.putLong(previousCount).putLong(sessionCount).putLong(lastT).putLong(lastRevision);
    out.putDouble(previousFirstOpen).putDouble(previousLastClose).putDouble(firstOpen);
    out.putDouble(lastClose).putDouble(rangeHigh).putDouble(rangeLow);
    for (double[] part : parts()) {
      out.asDoubleBuffer().put(part);
      out.position(out.position() + 8 * part.length);
    }
    return out.array();
  }

  private static Window fromBytes(byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    Window window = new Window();
    window.count = in.getLong();
    window.date = in.getLong();
    window.open = in.getLong();
    window.close = in.getLong();
    window.previousCount = in.getLong();
    window.sessionCount = in.getLong();
    window.lastT = in.getLong();
    window.lastRevision = in.getLong();
    window.previousFirstOpen = in.getDouble();
    window.previousLastClose = in.getDouble();
    window.firstOpen = in.getDouble();
    window.lastClose = in.getDouble();
    window.rangeHigh = in.getDouble();
    window.rangeLow = in.getDouble();
    for (double[] part : window.parts()) {
      in.asDoubleBuffer().get(part);
      in.position(in.position() + 8 * part.length);
    }
    return window;
  }
}
