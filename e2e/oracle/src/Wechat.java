import com.google.gson.JsonObject;
import com.wechat.pay.java.core.auth.WechatPay2Credential;
import com.wechat.pay.java.core.auth.WechatPay2Validator;
import com.wechat.pay.java.core.cipher.AeadAesCipher;
import com.wechat.pay.java.core.cipher.RSASigner;
import com.wechat.pay.java.core.cipher.RSAVerifier;
import com.wechat.pay.java.core.cipher.Signer;
import com.wechat.pay.java.core.cipher.Verifier;
import com.wechat.pay.java.core.http.HttpHeaders;
import com.wechat.pay.java.core.notification.NotificationParser;
import com.wechat.pay.java.core.notification.RequestParam;
import com.wechat.pay.java.core.util.PemUtil;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** WeChat Pay's own kit, wechatpay-java. */
final class Wechat implements Network {
    private static final String SCHEME = "WECHATPAY2-SHA256-RSA2048";
    private static final Pattern PART = Pattern.compile("([a-z_]+)=\"([^\"]*)\"");

    private final String mchid;
    private final String serial;
    private final Signer merchant;
    private final Signer network;
    private final Verifier merchantVerifier;
    private final Remembering networkVerifier;
    private final AeadAesCipher cipher;
    private final Method message;

    Wechat(Keys keys) throws Exception {
        mchid = keys.id("mchid");
        X509Certificate certificate = keys.certificates("merchant.crt").get(0);
        serial = PemUtil.getSerialNumber(certificate);
        merchant = new RSASigner(serial, keys.merchantKey());
        String keyId = keys.id("publicKeyId");
        network = new RSASigner(keyId, keys.networkKey());
        merchantVerifier = new RSAVerifier(certificate.getPublicKey(), serial);
        networkVerifier =
            new Remembering(new RSAVerifier(PemUtil.loadPublicKeyFromString(keys.text("network.pub")), keyId));
        cipher = new AeadAesCipher(keys.text("apiv3.key").getBytes(StandardCharsets.UTF_8));
        // The kit draws the nonce and the time by itself; here they are those of the record.
        message = WechatPay2Credential.class.getDeclaredMethod(
            "buildMessage", String.class, long.class, URI.class, String.class, String.class);
        message.setAccessible(true);
    }

    @Override
    public String name(Exchange exchange) {
        return exchange.network;
    }

    @Override
    public void request(Exchange exchange) throws Exception {
        String authorization = exchange.header("Authorization");
        Refused.unless(authorization.startsWith(SCHEME + " "), "another scheme");
        Map<String, String> parts = new HashMap<>();
        Matcher matcher = PART.matcher(authorization);
        while (matcher.find()) {
            parts.put(matcher.group(1), matcher.group(2));
        }
        WechatPay2Credential credential = new WechatPay2Credential(mchid, merchant);
        String text = (String) message.invoke(credential, parts.get("nonce_str"),
            Long.parseLong(parts.get("timestamp")), exchange.uri(), exchange.method, exchange.body);
        String signature = parts.get("signature");
        Refused.unless(mchid.equals(parts.get("mchid")), "another mchid");
        Refused.unless(merchantVerifier.verify(parts.get("serial_no"), text, signature), "not verified");
        Refused.unlessSame(merchant.sign(text).getSign(), signature, "the signature");
    }

    @Override
    public void reply(Exchange exchange) {
        HttpHeaders headers = new HttpHeaders();
        for (String name : List.of("Timestamp", "Nonce", "Serial", "Signature")) {
            headers.addHeader("Wechatpay-" + name, Exchange.one(exchange.answer.headers, "Wechatpay-" + name));
        }
        boolean holds = new WechatPay2Validator(networkVerifier).validate(headers, exchange.answer.body);
        Refused.unless(holds, "not verified");
        anew(headers.getHeader("Wechatpay-Signature"));
    }

    @Override
    public void notification(Exchange exchange) {
        RequestParam request = new RequestParam.Builder()
            .serialNumber(exchange.header("Wechatpay-Serial"))
            .timestamp(exchange.header("Wechatpay-Timestamp"))
            .nonce(exchange.header("Wechatpay-Nonce"))
            .signature(exchange.header("Wechatpay-Signature"))
            .signType(exchange.header("Wechatpay-Signature-Type"))
            .body(exchange.body)
            .build();
        NotificationParser parser =
            new NotificationParser(Map.of(SCHEME, networkVerifier), Map.of("AEAD_AES_256_GCM", cipher));
        JsonObject resource = parser.parse(request, JsonObject.class);
        Refused.unless(mchid.equals(resource.get("mchid").getAsString()), "another mchid");
        anew(request.getSignature());
        sealedAnew(Exchange.json(exchange.body).getAsJsonObject("resource"));
    }

    private void anew(String signature) {
        Refused.unlessSame(network.sign(networkVerifier.text).getSign(), signature, "the signature");
    }

    private void sealedAnew(JsonObject resource) {
        byte[] data = resource.get("associated_data").getAsString().getBytes(StandardCharsets.UTF_8);
        byte[] nonce = resource.get("nonce").getAsString().getBytes(StandardCharsets.UTF_8);
        String sealed = resource.get("ciphertext").getAsString();
        byte[] plain = cipher.decrypt(data, nonce, Base64.getDecoder().decode(sealed))
            .getBytes(StandardCharsets.UTF_8);
        Refused.unlessSame(cipher.encrypt(data, nonce, plain), sealed, "the sealed resource");
    }

    /** Keeps the text that the kit verified, to sign it anew. */
    private static final class Remembering implements Verifier {
        private final Verifier inner;
        private String text;

        Remembering(Verifier inner) {
            this.inner = inner;
        }

        @Override
        public boolean verify(String serial, String text, String signature) {
            this.text = text;
            return inner.verify(serial, text, signature);
        }

        @Override
        public String getSerialNumber() {
            return inner.getSerialNumber();
        }
    }
}
