package tapedeck.bench;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;

/**
 * Counts bars and tells the race, on standard output, when the warm-up is over and when all are done.
 *
 * <p>A line is {@code peer: mark CPU WALL} or {@code peer: done CPU WALL DIGEST}, in seconds. The digest is
 * tests/bench/peer.py's. One stream thread calls it, so nothing is locked.
 */
final class Progress {
  private static final int HALF = 16;

  private final long warm;
  private final long total;
  private final byte[][] rows;
  private final MessageDigest sha = Codec.sha256();
  private final OperatingSystemMXBean machine =
      ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
  private long bars;
  private int held;

  Progress(long warm, long total, boolean writes) {
    this.warm = warm;
    this.total = total;
    this.rows = new byte[writes ? 0 : Math.toIntExact(total)][];
  }

  void bar() {
    bars++;
    if (bars == warm) {
      tell("mark", "-");
    } else if (bars == total) {
      tell("done", rows.length == 0 ? "-" : hexDigest());
    }
  }

  void digest(String id, byte[] key, byte[] value) {
    if (held == rows.length) {
      return;
    }
    sha.update(ByteBuffer.allocate(4).putInt(key.length).array());
    sha.update(key);
    sha.update(value, Codec.PREFIX, value.length - Codec.PREFIX);
    byte[] row = Arrays.copyOf(HexFormat.of().parseHex(id), 2 * HALF);
    System.arraycopy(sha.digest(), 0, row, HALF, HALF);
    rows[held++] = row;
  }

  private String hexDigest() {
    Arrays.sort(rows, Arrays::compareUnsigned);
    for (byte[] row : rows) {
      sha.update(row);
    }
    return HexFormat.of().formatHex(sha.digest());
  }

  private void tell(String what, String digest) {
    double cpu = machine.getProcessCpuTime() / 1e9;
    System.out.printf(Locale.ROOT, "peer: %s %.3f %.3f %s%n", what, cpu, System.nanoTime() / 1e9, digest);
  }
}
