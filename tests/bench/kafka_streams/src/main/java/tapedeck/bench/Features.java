package tapedeck.bench;

import static tapedeck.bench.Rounding.round10;

/** The feature vector after one bar: domain section 4 with its default parameters. NaN stands for null. */
final class Features {
  static final int RSI = 14;
  static final int MACD_FAST = 12;
  static final int MACD_SLOW = 26;
  static final int MACD_SIGNAL = 9;
  static final int ATR = 14;
  private static final int SHORT = 20;
  private static final int LONG = 50;
  private static final int RECENT = 30;
  private static final int NEEDED_RECENT = 20;
  private static final int BASELINE = 120;
  private static final int NEEDED_BASELINE = 80;
  private static final int READY = 50;
  private static final double SURGE = 2.0;
  private static final double BAND = 2.0;
  private static final double SPLIT_LOW = 0.6;
  private static final double SPLIT_HIGH = 1.7;
  private static final long MINUTE_US = 60_000_000L;
  private static final long OPENING_RANGE = 30 * MINUTE_US;

  long bars;
  boolean ready;
  boolean crosses;
  boolean split;
  double smaShort;
  double smaLong;
  double trend;
  double distanceShort;
  double distanceLong;
  double recent;
  double baseline;
  double volRatio;
  double volumeRatio;
  double rsi;
  double macd;
  double macdSignal;
  double macdHist;
  double upper;
  double lower;
  double position;
  double atr;
  double vwap;
  double momentumShort;
  double momentumLong;
  double rangeHigh;
  double rangeLow;
  String range;
  double gap;
  double previousMove;

  boolean surges() {
    return volumeRatio > SURGE;
  }

  /** Everything after {@code bar}, the newest of {@code window}. */
  void compute(Window window, Bar bar) {
    double jump = window.firstOpen / window.previousLastClose;
    split = jump < SPLIT_LOW || jump > SPLIT_HIGH;
    // after a suspected split the previous session's prices mean something else: they leave the list
    bars = split ? window.sessionCount : window.count;
    ready = bars >= READY;
    crosses = bars > window.sessionCount && window.sessionCount < LONG;
    averages(window, bar.close(), bar.volume());
    bands(window, bar.close());
    deviations(window);
    oscillators(split ? window.seededToday : window.seededBefore);
    session(window, bar);
  }

  private void averages(Window window, double close, double volume) {
    smaShort = smaLong = distanceShort = distanceLong = trend = volumeRatio = Double.NaN;
    long newest = window.count - 1;
    if (bars >= SHORT) {
      double mean = sum(window.closes, newest, SHORT) / SHORT;
      smaShort = round10(mean);
      distanceShort = round10((close - mean) / mean);
    }
    if (bars >= LONG) {
      double mean = sum(window.closes, newest, LONG) / LONG;
      smaLong = round10(mean);
      distanceLong = round10((close - mean) / mean);
      trend = Math.signum(smaShort - smaLong);
    }
    if (bars > SHORT) {
      double mean = sum(window.volumes, newest - 1, SHORT) / SHORT;
      volumeRatio = mean == 0.0 ? Double.NaN : round10(volume / mean);
    }
  }

  private void bands(Window window, double close) {
    upper = lower = position = Double.NaN;
    if (bars < SHORT) {
      return;
    }
    long newest = window.count - 1;
    double mean = sum(window.closes, newest, SHORT) / SHORT;
    double squares = 0.0;
    for (int at = place(newest, SHORT), n = 0; n < SHORT; n++, at = next(at)) {
      double off = window.closes[at] - mean;
      squares += off * off;
    }
    double width = BAND * Math.sqrt(squares / SHORT);
    double top = mean + width;
    double bottom = mean - width;
    upper = round10(top);
    lower = round10(bottom);
    position = upper == lower ? Double.NaN : round10((close - bottom) / (top - bottom));
  }

  private void deviations(Window window) {
    double few = bars >= RECENT ? deviation(window, RECENT, NEEDED_RECENT) : Double.NaN;
    double many = bars >= BASELINE ? deviation(window, BASELINE, NEEDED_BASELINE) : Double.NaN;
    recent = round10(few);
    baseline = round10(many);
    volRatio = recent == 0.0 || baseline == 0.0 ? Double.NaN : round10(few / many);
  }

  /** Sample deviation of the usable returns between the last {@code size} closes. */
  private static double deviation(Window window, int size, int needed) {
    long newest = window.count - 1;
    double origin = Double.NaN;
    for (int k = 0; k < size - 1 && Double.isNaN(origin); k++) {
      origin = window.moves[Math.floorMod(newest - k, Window.RING)];
    }
    int usable = 0;
    double total = 0.0;
    double squares = 0.0;
    for (int at = place(newest, size - 1), n = 0; n < size - 1; n++, at = next(at)) {
      double move = window.moves[at];
      if (!Double.isNaN(move)) {
        double off = move - origin;
        usable++;
        total += off;
        squares += off * off;
      }
    }
    if (usable < needed) {
      return Double.NaN;
    }
    return Math.sqrt(Math.max(squares - total * total / usable, 0.0) / (usable - 1));
  }

  private void oscillators(double[] r) {
    rsi = macd = macdSignal = macdHist = atr = Double.NaN;
    if (bars > RSI) {
      double gain = r[Window.GAIN];
      double loss = r[Window.LOSS];
      rsi = loss != 0.0 ? round10(100.0 - 100.0 / (1.0 + gain / loss)) : gain == 0.0 ? 50.0 : 100.0;
    }
    if (bars >= MACD_SLOW) {
      double difference = r[Window.FAST] - r[Window.SLOW];
      macd = round10(difference);
      if (bars - MACD_SLOW + 1 >= MACD_SIGNAL) {
        macdSignal = round10(r[Window.SIGNAL]);
        macdHist = round10(difference - r[Window.SIGNAL]);
      }
    }
    if (bars >= ATR) {
      atr = round10(r[Window.ATR]);
    }
  }

  private void session(Window window, Bar bar) {
    double close = bar.close();
    vwap = window.traded[0] == 0.0 ? Double.NaN : round10(window.value[0] / window.traded[0]);
    momentumShort = momentum(window, close, 5);
    momentumLong = momentum(window, close, 15);
    rangeHigh = rangeLow = Double.NaN;
    range = null;
    if (bar.t() + MINUTE_US >= window.open + OPENING_RANGE && !Double.isNaN(window.rangeHigh)) {
      rangeHigh = round10(window.rangeHigh);
      rangeLow = round10(window.rangeLow);
      range = close > window.rangeHigh ? "ABOVE" : close < window.rangeLow ? "BELOW" : "INSIDE";
    }
    gap = round10((window.firstOpen - window.previousLastClose) / window.previousLastClose);
    previousMove = round10(window.previousLastClose / window.previousFirstOpen - 1.0);
  }

  private static double momentum(Window window, double close, int back) {
    if (window.sessionCount <= back) {
      return Double.NaN;
    }
    int at = Math.floorMod(window.count - 1 - back, Window.RING);
    return round10(close / window.closes[at] - 1.0);
  }

  private static double sum(double[] ring, long newest, int size) {
    double total = 0.0;
    for (int at = place(newest, size), n = 0; n < size; n++, at = next(at)) {
      total += ring[at];
    }
    return total;
  }

  /** Where the oldest of the {@code size} bars that end at {@code newest} stands. */
  private static int place(long newest, int size) {
    return Math.floorMod(newest - size + 1, Window.RING);
  }

  private static int next(int at) {
    return at + 1 < Window.RING ? at + 1 : 0;
  }
}
