package tapedeck.bench;

/** Half-even rounding of the exact value to 10 decimals: streams/windows/rounding.py in Java. */
final class Rounding {
  private static final double TEN_PLACES = 1e10;
  private static final double SPLITTER = 134217729.0;
  private static final double COARSE = 524288.0;
  private static final double UNIT_STEPS = 4503599627370496.0;

  private Rounding() {}

  static double round10(double x) {
    if (!(Math.abs(x) < COARSE)) {
      return x;
    }
    double p = x * TEN_PLACES;
    double cut = x * SPLITTER;
    double high = cut - (cut - x);
    double rest = (high * TEN_PLACES - p) + (x - high) * TEN_PLACES;
    double whole = Math.rint(p);
    double part = p - whole;
    if (Math.abs(part) == 0.5) {
      if ((part > 0.0) == (rest > 0.0) && rest != 0.0) {
        whole += rest > 0.0 ? 1.0 : -1.0;
      }
    } else if (Math.abs(p) >= UNIT_STEPS && Math.abs(rest) == 0.5 && whole % 2.0 != 0.0) {
      whole += rest > 0.0 ? 1.0 : -1.0;
    }
    return whole / TEN_PLACES + 0.0;
  }
}
