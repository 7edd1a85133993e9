import com.egzosn.pay.common.bean.CertStoreType;
import com.egzosn.pay.common.http.UriVariables;
import com.egzosn.pay.common.util.sign.SignTextUtils;
import com.egzosn.pay.common.util.sign.SignUtils;
import com.egzosn.pay.common.util.sign.encrypt.RSA2;
import com.egzosn.pay.union.api.UnionPayConfigStorage;
import com.egzosn.pay.union.api.UnionPayService;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bouncycastle.crypto.digests.SM3Digest;
import org.bouncycastle.util.encoders.Hex;

/** UnionPay online 5.1.0 by pay-java-union. UnionPay itself hands out its kit only to its merchants. */
final class Union implements Network {
    private static final String PASSWORD = "oracle";

    private final String merId;
    private final String secureKey;
    private final PrivateKey networkKey;
    private final X509Certificate merchantCertificate;
    private final UnionPayService rsa;
    private final UnionPayService sha256;
    private final Method setSign;

    Union(Keys keys) throws Exception {
        merId = keys.id("merId");
        secureKey = keys.text("secure.key");
        networkKey = keys.networkKey();
        merchantCertificate = keys.certificates("merchant.crt").get(0);
        rsa = service(keys, SignUtils.RSA2);
        sha256 = service(keys, SignUtils.SHA256);
        setSign = UnionPayService.class.getDeclaredMethod("setSign", Map.class);
        setSign.setAccessible(true);
    }

    private UnionPayService service(Keys keys, SignUtils signs) throws Exception {
        UnionPayConfigStorage config = new UnionPayConfigStorage();
        config.setMerId(merId);
        config.setInputCharset("UTF-8");
        config.setSignType(signs.name());
        config.setKeyPublic(secureKey);
        List<X509Certificate> authorities = keys.certificates("network-ca.crt");
        config.setCertSign(true);
        config.setCertStoreType(CertStoreType.INPUT_STREAM);
        config.setKeyPrivateCertPwd(PASSWORD);
        config.setKeyPrivateCert(new ByteArrayInputStream(pkcs12(keys.merchantKey())));
        config.setAcpRootCert(new ByteArrayInputStream(authorities.get(0).getEncoded()));
        config.setAcpMiddleCert(new ByteArrayInputStream(authorities.get(1).getEncoded()));
        return new UnionPayService(config);
    }

    private byte[] pkcs12(PrivateKey key) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("merchant", key, PASSWORD.toCharArray(), new X509Certificate[] {merchantCertificate});
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        store.store(bytes, PASSWORD.toCharArray());
        return bytes.toByteArray();
    }

    @Override
    public String name(Exchange exchange) {
        return exchange.network + " " + exchange.form().get("signMethod");
    }

    @Override
    public void request(Exchange exchange) throws Exception {
        Map<String, Object> fields = new HashMap<>(exchange.form());
        String signature = signature(fields);
        if (!fields.get("signMethod").equals("01")) {
            keyed(fields, signature);
            return;
        }
        String digest = digest(fields);
        Refused.unless(RSA2.verify(digest, signature, merchantCertificate.getPublicKey(), "UTF-8"), "not verified");
        // The kit names the certificate by itself, from the key store.
        Map<String, Object> anew = new HashMap<>(fields);
        anew.remove("signature");
        anew.remove("certId");
        setSign.invoke(rsa, anew);
        Refused.unlessSame((String) anew.get("certId"), (String) fields.get("certId"), "certId");
        Refused.unlessSame((String) anew.get("signature"), signature, "the signature");
    }

    @Override
    public void reply(Exchange exchange) throws Exception {
        Map<String, Object> fields = new HashMap<>(UriVariables.getParametersToMap(exchange.answer.body));
        Refused.unless(exchange.form().get("signMethod").equals(fields.get("signMethod")), "another signMethod");
        networks(fields);
    }

    @Override
    public void notification(Exchange exchange) throws Exception {
        networks(new HashMap<>(exchange.form()));
    }

    /** What the network signed, its certificate verified by the kit up to the root. */
    private void networks(Map<String, Object> fields) throws Exception {
        String signature = signature(fields);
        if (!fields.get("signMethod").equals("01")) {
            keyed(fields, signature);
            return;
        }
        Refused.unless(rsa.signVerify(fields, signature), "not verified");
        Refused.unlessSame(RSA2.sign(digest(fields), networkKey, "UTF-8"), signature, "the signature");
    }

    private String signature(Map<String, Object> fields) {
        Refused.unless(merId.equals(fields.get("merId")), "another merId");
        return String.valueOf(fields.get("signature"));
    }

    /**
     * With a key of both sides: the digest of the text, an ampersand and the digest of the key. So the kit verifies;
     * its own signing puts the ampersand behind the key, and it has no SM3, which is Bouncy Castle's.
     */
    private void keyed(Map<String, Object> fields, String signature) {
        String text = text(fields);
        if (fields.get("signMethod").equals("11")) {
            Refused.unless(sha256.signVerify(fields, signature), "not verified");
            String key = SignUtils.SHA256.createSign(secureKey, "", "UTF-8");
            Refused.unlessSame(SignUtils.SHA256.createSign(text, "&" + key, "UTF-8"), signature, "the signature");
        } else {
            Refused.unless("12".equals(fields.get("signMethod")), "another signMethod");
            Refused.unlessSame(sm3(text + "&" + sm3(secureKey)), signature, "the signature");
        }
    }

    private static String sm3(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        SM3Digest digest = new SM3Digest();
        digest.update(bytes, 0, bytes.length);
        byte[] sum = new byte[digest.getDigestSize()];
        digest.doFinal(sum, 0);
        return Hex.toHexString(sum);
    }

    private static String digest(Map<String, Object> fields) {
        return SignUtils.SHA256.createSign(text(fields), "", "UTF-8");
    }

    private static String text(Map<String, Object> fields) {
        return SignTextUtils.parameterText(fields, "&", "signature");
    }
}
