import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.DataInputStream;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.*;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

/**
 * A search engine that keeps the newest documents. Arguments: FOLDER DOCUMENTS-MAX PORT
 *
 *   POST /document/      adds the body to the log and the index; the oldest one leaves the index
 *   GET  /document/N     one of the documents
 *   GET  /search/A+B     the best documents that have all these words, with what is around the first
 *   GET  /trend/         what words the latest documents have more often than all
 */
public class Search {
  private static final int FOUND_MAX = 10;
  private static final int LATEST = 200;
  private static final int TRENDS_MAX = 20;
  private static final int AROUND_CHARS = 60;
  private static final int THREADS = 4;

  private record Document(long number, String text, Map<String, Integer> words) {}
  private record Found(Document document, double score) {}

  private final ArrayDeque<Document> inOrder = new ArrayDeque<>();
  private final Map<Long, Document> byNumber = new HashMap<>();
  // By word: the documents that have it, oldest first.
  private final Map<String, ArrayDeque<Document>> index = new HashMap<>();
  private final FileChannel log;
  private final int documentsMax;
  private long next = 0;

  private Search(Path folder, int documentsMax) throws IOException {
    this.documentsMax = documentsMax;
    Path path = folder.resolve("documents.log");
    try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(path)))) {
      while (true) {
        byte[] body = new byte[in.readInt()];
        in.readFully(body);
        insert(body);
      }
    } catch (EOFException end) {
      // All of it was read.
    }
    log = FileChannel.open(path, StandardOpenOption.APPEND);
  }

  private synchronized void insert(byte[] body) {
    String text = new String(body, StandardCharsets.ISO_8859_1);
    Map<String, Integer> words = new HashMap<>();
    StringTokenizer tokens = new StringTokenizer(text.toLowerCase(Locale.ROOT), " \t\n\r.,;:()[]{}<>=+-*/\"'`|&!?#");
    while (tokens.hasMoreTokens()) words.merge(tokens.nextToken(), 1, Integer::sum);
    Document document = new Document(next++, text, words);
    inOrder.addLast(document);
    byNumber.put(document.number(), document);
    for (String word : words.keySet()) index.computeIfAbsent(word, w -> new ArrayDeque<>(2)).addLast(document);
    if (inOrder.size() > documentsMax) remove(inOrder.removeFirst());
  }

  private void remove(Document document) {
    byNumber.remove(document.number());
    for (String word : document.words().keySet()) {
      ArrayDeque<Document> having = index.get(word);
      having.removeFirst();  // The oldest of all documents is the oldest that has the word.
      if (having.isEmpty()) index.remove(word);
    }
  }

  private String add(byte[] body) throws IOException {
    synchronized (log) {
      ByteBuffer entry = ByteBuffer.allocate(4 + body.length).putInt(body.length).put(body).flip();
      while (entry.hasRemaining()) log.write(entry);
      log.force(false);
    }
    insert(body);
    return "thank you";
  }

  private synchronized String read(long number) {
    Document oldest = inOrder.getFirst();
    return byNumber.get(oldest.number() + number % documentsMax).text();
  }

  private synchronized String search(List<String> words) {
    String rarest = Collections.min(words, Comparator.comparingInt(word -> index.getOrDefault(word, new ArrayDeque<>()).size()));
    return index.getOrDefault(rarest, new ArrayDeque<>()).stream()
        .filter(document -> words.stream().allMatch(document.words()::containsKey))
        .map(document -> new Found(document, score(document, words)))
        .sorted(Comparator.comparingDouble(Found::score).reversed())
        .limit(FOUND_MAX)
        .map(found -> found.document().number() + " " + found.score() + " " + around(found.document(), rarest))
        .collect(Collectors.joining("\n"));
  }

  private double score(Document document, List<String> words) {
    return words.stream().mapToDouble(word -> document.words().get(word)
        * Math.log((double) inOrder.size() / index.get(word).size())).sum() / Math.sqrt(document.text().length());
  }

  private static String around(Document document, String word) {
    int at = document.text().toLowerCase(Locale.ROOT).indexOf(word);
    return document.text().substring(Math.max(0, at - AROUND_CHARS),
                                     Math.min(document.text().length(), at + AROUND_CHARS)).replace('\n', ' ');
  }

  private synchronized String trend() {
    Map<String, Integer> latest = new TreeMap<>();
    Iterator<Document> newestFirst = inOrder.descendingIterator();
    for (int i = 0; i < LATEST && newestFirst.hasNext(); i++)
      newestFirst.next().words().forEach((word, times) -> latest.merge(word, times, Integer::sum));
    return latest.entrySet().stream()
        .sorted(Comparator.comparingDouble(entry -> -(double) entry.getValue() / (50 + index.get(entry.getKey()).size())))
        .limit(TRENDS_MAX).map(entry -> entry.getKey() + " " + entry.getValue()).collect(Collectors.joining("\n"));
  }

  private void handle(HttpExchange exchange) throws IOException {
    String[] path = exchange.getRequestURI().getPath().split("/");
    byte[] body = exchange.getRequestBody().readAllBytes();
    String answer = switch (exchange.getRequestMethod() + " " + path[1]) {
      case "POST document" -> add(body);
      case "GET document" -> read(Long.parseLong(path[2]));
      case "GET search" -> search(List.of(path[2].split("\\+")));
      case "GET trend" -> trend();
      default -> null;
    };
    byte[] bytes = (answer == null ? "not found" : answer).getBytes(StandardCharsets.ISO_8859_1);
    exchange.sendResponseHeaders(answer == null ? 404 : 200, Math.max(1, bytes.length));
    exchange.getResponseBody().write(bytes.length == 0 ? new byte[] {'\n'} : bytes);
    exchange.close();
  }

  public static void main(String[] arguments) throws IOException {
    Search search = new Search(Path.of(arguments[0]), Integer.parseInt(arguments[1]));
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[2])), 0);
    server.createContext("/", search::handle);
    server.setExecutor(Executors.newFixedThreadPool(THREADS));
    server.start();
  }
}
