import com.google.gson.JsonObject;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * Judges the simulator's record of traffic with the networks' kits, which share no code with us; a bank's, whose
 * contract is ours, with Java's own cryptography.
 *
 * <p>Arguments: the record, and the folder that `payplane simulator init` made. Prints one JSON object per
 * request, reply and notification: its line (from 0), network, part, and `why` where it is refused. Exits with 1
 * where anything is.
 */
public final class Oracle {
    private interface Judge {
        void judge(Exchange exchange) throws Exception;
    }

    private static int refused;

    public static void main(String[] arguments) throws Exception {
        Path keys = Path.of(arguments[1]);
        Map<String, Network> networks = new HashMap<>();
        networks.put("WechatPay", new Wechat(new Keys(keys, "wechat")));
        networks.put("Alipay", new Alipay(new Keys(keys, "alipay")));
        networks.put("UnionPay", new Union(new Keys(keys, "unionpay")));
        networks.put("BankDirect", new Bank(new Keys(keys, "bankdirect")));
        int number = 0;
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            Exchange exchange = Exchange.read(line);
            Network network = networks.get(exchange.network);
            if (exchange.isNotification()) {
                say(number, network, "notification", exchange, network::notification);
            } else {
                say(number, network, "request", exchange, network::request);
                // A caller that went away has no reply.
                if (exchange.answer != null) {
                    say(number, network, "reply", exchange, network::reply);
                }
            }
            number++;
        }
        System.exit(refused > 0 ? 1 : 0);
    }

    private static void say(int number, Network network, String part, Exchange exchange, Judge judge) {
        JsonObject said = new JsonObject();
        said.addProperty("line", number);
        said.addProperty("part", part);
        try {
            said.addProperty("network", network.name(exchange));
            judge.judge(exchange);
        } catch (Throwable error) {
            // Whatever the kits throw at what they do not believe.
            said.addProperty("why", String.valueOf(error));
            refused++;
        }
        System.out.println(said);
    }
}
