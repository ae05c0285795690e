import io.tus.java.client.ProtocolException;
import io.tus.java.client.TusClient;
import io.tus.java.client.TusExecutor;
import io.tus.java.client.TusURLStore;
import io.tus.java.client.TusUpload;
import io.tus.java.client.TusUploader;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;

/**
 * One upload by tus-java-client, as a process of its own:
 *
 * <pre>java Upload endpoint=http://… file=… [urls=…] [payload=BYTES] [chunk=BYTES] [stopAt=BYTES]
 *   [retries=COUNT] [deleteFirst=true]</pre>
 *
 * {@code urls} is the file of its URL store, from which it goes on if the upload is known there; {@code payload}
 * the most bytes of one request, {@code chunk} of one write; {@code stopAt} the number of bytes after which it
 * ends the request early. {@code deleteFirst} removes the upload behind its back, before the first byte is sent.
 * The last line tells the URL and the offset, or the error (exit code 1).
 */
public final class Upload {
    private final Properties options = new Properties();
    private final TusClient client = new TusClient();
    private final TusUpload upload;
    private URL url;
    private long offset;

    private Upload(String[] arguments) throws IOException {
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            options.setProperty(pair[0], pair[1]);
        }
        client.setUploadCreationURL(URI.create(options.getProperty("endpoint")).toURL());
        if (options.containsKey("urls")) {
            client.enableResuming(new FileStore(Path.of(options.getProperty("urls"))));
        }
        File file = new File(options.getProperty("file"));
        upload = new TusUpload(file);
        upload.setMetadata(Map.of("filename", file.getName()));
    }

    private int number(String name, int otherwise) {
        return Integer.parseInt(options.getProperty(name, String.valueOf(otherwise)));
    }

    private void send() throws IOException, ProtocolException {
        TusUploader uploader = url == null || client.resumingEnabled()
                ? client.resumeOrCreateUpload(upload)
                : client.beginOrResumeUploadFromURL(upload, url);
        url = uploader.getUploadURL();
        uploader.setRequestPayloadSize(number("payload", uploader.getRequestPayloadSize()));
        uploader.setChunkSize(number("chunk", uploader.getChunkSize()));
        if (options.containsKey("deleteFirst")) {
            delete();
        }
        long stopAt = number("stopAt", Integer.MAX_VALUE);
        while (uploader.getOffset() < stopAt && uploader.uploadChunk() > -1) {
            offset = uploader.getOffset();
        }
        uploader.finish();
        offset = uploader.getOffset();
    }

    private void delete() throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        connection.setRequestMethod("DELETE");
        client.prepareConnection(connection);
        if (connection.getResponseCode() != 204) {
            throw new IOException("DELETE was answered " + connection.getResponseCode());
        }
    }

    private void sendAgainAndAgain() throws IOException, ProtocolException {
        TusExecutor executor = new TusExecutor() {
            @Override
            protected void makeAttempt() throws ProtocolException, IOException {
                try {
                    send();
                } catch (IOException | ProtocolException error) {
                    System.err.println("attempt failed: " + error);
                    throw error;
                }
            }
        };
        int[] delays = new int[number("retries", 0)];
        java.util.Arrays.fill(delays, 200);
        executor.setDelays(delays);
        executor.makeAttempts();
    }

    public static void main(String[] arguments) throws IOException {
        Upload one = new Upload(arguments);
        try {
            one.sendAgainAndAgain();
            System.out.printf("{\"url\": \"%s\", \"offset\": %d}%n", one.url, one.offset);
        } catch (ProtocolException error) {
            HttpURLConnection cause = error.getCausingConnection();
            int status = cause == null ? 0 : cause.getResponseCode();
            System.err.println(error);
            System.out.printf("{\"url\": \"%s\", \"status\": %d}%n", one.url, status);
            System.exit(1);
        }
    }

    /** URLs in a file, since the client itself keeps them in memory only. */
    private static final class FileStore implements TusURLStore {
        private final Path path;
        private final Properties urls = new Properties();

        FileStore(Path path) throws IOException {
            this.path = path;
            if (Files.exists(path)) {
                try (InputStream stored = Files.newInputStream(path)) {
                    urls.load(stored);
                }
            }
        }

        @Override
        public void set(String fingerprint, URL url) {
            urls.setProperty(fingerprint, url.toString());
            save();
        }

        @Override
        public URL get(String fingerprint) {
            String found = urls.getProperty(fingerprint);
            try {
                return found == null ? null : URI.create(found).toURL();
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public void remove(String fingerprint) {
            urls.remove(fingerprint);
            save();
        }

        private void save() {
            try (OutputStream stream = Files.newOutputStream(path)) {
                urls.store(stream, null);
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
