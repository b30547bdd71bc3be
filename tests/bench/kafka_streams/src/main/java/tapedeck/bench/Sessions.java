package tapedeck.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;

/** The exchange calendar, read from lines of {@code date,open,close}: days and UTC microseconds. */
final class Sessions {
  /** One session and the date of the one before it. */
  record Session(long date, long previousDate, long open, long close) {}

  private final NavigableMap<Long, Session> byOpen = new TreeMap<>();

  private Sessions(List<long[]> rows) {
    long previous = Long.MIN_VALUE;
    for (long[] row : rows) {
      byOpen.put(row[1], new Session(row[0], previous, row[1], row[2]));
      previous = row[0];
    }
  }

  static Sessions read(Path path) throws IOException {
    List<long[]> rows = new ArrayList<>();
    for (String line : Files.readAllLines(path)) {
      String[] cells = line.split(",");
      rows.add(new long[] {Long.parseLong(cells[0]), Long.parseLong(cells[1]), Long.parseLong(cells[2])});
    }
    return new Sessions(rows);
  }

  /** The session in which {@code t} lies, or null. */
  Session at(long t) {
    Map.Entry<Long, Session> found = byOpen.floorEntry(t);
    return found == null || t >= found.getValue().close() ? null : found.getValue();
  }
}
