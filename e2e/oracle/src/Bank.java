import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;

/**
 * Bank direct, written from docs/bank-direct.md alone, with Java's own cryptography. Its signatures are never the
 * same twice: one made anew is verified with the public key that verified the recorded one.
 */
final class Bank implements Network {
    private record Side(String keyId, PublicKey verifies, PrivateKey signs) {
    }

    private final String participant;
    private final Side gateway;
    private final Side bank;

    Bank(Keys keys) throws Exception {
        participant = keys.id("participantId");
        gateway = side(keys.base64("merchant.pub"), keys.base64("merchant.key"));
        bank = side(keys.base64("network.pub"), keys.networkBase64());
    }

    private static Side side(String publicKey, String privateKey) throws Exception {
        KeyFactory factory = KeyFactory.getInstance("EC");
        byte[] der = Base64.getDecoder().decode(publicKey);
        byte[] secret = Base64.getDecoder().decode(privateKey);
        return new Side(
            sha256(der).substring(0, 16),
            factory.generatePublic(new X509EncodedKeySpec(der)),
            factory.generatePrivate(new PKCS8EncodedKeySpec(secret)));
    }

    @Override
    public String name(Exchange exchange) {
        return exchange.network;
    }

    @Override
    public void request(Exchange exchange) throws Exception {
        String head = "bank-direct/1 request\n" + exchange.method + " " + exchange.target + "\n";
        verify(head, exchange.headers, exchange.body, gateway);
    }

    @Override
    public void reply(Exchange exchange) throws Exception {
        Exchange.Answer answer = exchange.answer;
        Refused.unlessSame(
            Exchange.one(answer.headers, "bank-nonce"), exchange.header("bank-nonce"), "the request's nonce");
        verify("bank-direct/1 answer\n" + answer.status + "\n", answer.headers, answer.body, bank);
    }

    @Override
    public void notification(Exchange exchange) throws Exception {
        verify("bank-direct/1 notification\n", exchange.headers, exchange.body, bank);
    }

    private void verify(String head, List<List<String>> headers, String body, Side side) throws Exception {
        String time = Exchange.one(headers, "bank-time");
        String nonce = Exchange.one(headers, "bank-nonce");
        Refused.unlessSame(participant, Exchange.one(headers, "bank-participant"), "the participant");
        Refused.unlessSame(side.keyId, Exchange.one(headers, "bank-key"), "the key id");
        Refused.unless(time.matches("0|[1-9][0-9]*"), "Bank-Time is no number");
        Refused.unless(nonce.matches("[A-Za-z0-9-]{16,64}"), "Bank-Nonce is ill-formed");
        String digest = sha256(body.getBytes(StandardCharsets.UTF_8));
        String text = head + String.join("\n", participant, side.keyId, time, nonce, digest) + "\n";
        byte[] recorded = Base64.getDecoder().decode(Exchange.one(headers, "bank-signature"));
        Refused.unless(isSigned(text, recorded, side.verifies), "not verified");
        Signature anew = Signature.getInstance("SHA256withECDSA");
        anew.initSign(side.signs);
        anew.update(text.getBytes(StandardCharsets.US_ASCII));
        Refused.unless(isSigned(text, anew.sign(), side.verifies), "made anew it does not verify");
    }

    private static boolean isSigned(String text, byte[] signature, PublicKey key) throws Exception {
        Signature verifier = Signature.getInstance("SHA256withECDSA");
        verifier.initVerify(key);
        verifier.update(text.getBytes(StandardCharsets.US_ASCII));
        return verifier.verify(signature);
    }

    private static String sha256(byte[] bytes) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }
}
