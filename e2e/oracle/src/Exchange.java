import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One line of the simulator's record: what was asked, and what was answered. */
final class Exchange {
    String direction;
    String network;
    String method;
    String target;
    List<List<String>> headers = new ArrayList<>();
    String body;
    Answer answer;

    static final class Answer {
        int status;
        List<List<String>> headers = new ArrayList<>();
        String body;
    }

    static Exchange read(String line) {
        return new Gson().fromJson(line, Exchange.class);
    }

    boolean isNotification() {
        return direction.equals("notification");
    }

    String header(String name) {
        return one(headers, name);
    }

    URI uri() {
        return URI.create("https://network" + (target.startsWith("/") ? target : "/"));
    }

    /** The parameters of the address and of the body, unescaped; one that is there twice is an error. */
    Map<String, String> form() {
        Map<String, String> fields = new HashMap<>();
        int query = target.indexOf('?');
        if (query >= 0) {
            read(target.substring(query + 1), fields);
        }
        read(body, fields);
        return fields;
    }

    private static void read(String text, Map<String, String> fields) {
        for (String pair : text.split("&")) {
            int at = pair.indexOf('=');
            String name = URLDecoder.decode(pair.substring(0, at), StandardCharsets.UTF_8);
            String value = URLDecoder.decode(pair.substring(at + 1), StandardCharsets.UTF_8);
            Refused.unless(fields.put(name, value) == null, name + " is there twice");
        }
    }

    static String one(List<List<String>> headers, String name) {
        String found = null;
        for (List<String> header : headers) {
            if (header.get(0).equalsIgnoreCase(name)) {
                Refused.unless(found == null, name + " is there twice");
                found = header.get(1);
            }
        }
        Refused.unless(found != null, "no header " + name);
        return found;
    }

    static JsonObject json(String text) {
        return new Gson().fromJson(text, JsonObject.class);
    }
}
