package tapedeck.bench;

import java.nio.file.Path;

/** What the race tells a peer. {@code output} is empty where nothing is to be written. */
record Settings(
    String bootstrap, String group, String bars, String output, String guarantee, Path folder,
    String schemas, int featuresId, String configDigest, long warm, long total) {

  static Settings fromEnvironment() {
    return new Settings(
        need("PEER_BOOTSTRAP"), need("PEER_GROUP"), need("PEER_BARS"), need("PEER_OUTPUT"),
        need("PEER_GUARANTEE"), Path.of(need("PEER_FOLDER")), need("PEER_SCHEMAS"),
        Integer.parseInt(need("PEER_FEATURES_ID")), need("PEER_CONFIG_DIGEST"),
        Long.parseLong(need("PEER_WARM")), Long.parseLong(need("PEER_TOTAL")));
  }

  boolean writes() {
    return !output.isEmpty();
  }

  private static String need(String name) {
    String value = System.getenv(name);
    if (value == null) {
      throw new IllegalArgumentException(name + " is not set; tests/bench/race.py sets it");
    }
    return value;
  }
}
