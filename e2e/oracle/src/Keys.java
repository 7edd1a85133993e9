import com.google.gson.JsonObject;
import com.wechat.pay.java.core.util.PemUtil;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.security.cert.CertificateFactory;
import java.util.List;

/** The keys of one network as `payplane simulator init` wrote them: the merchant's side, and the network's. */
final class Keys {
    final Path merchant;
    private final Path network;
    private final String name;

    Keys(Path folder, String name) {
        this.merchant = folder.resolve(name);
        this.network = folder.resolve("network");
        this.name = name;
    }

    String text(String file) throws IOException {
        return Files.readString(merchant.resolve(file)).strip();
    }

    /** PEM without its first and last line: how the kits want keys. */
    String base64(String file) throws IOException {
        return bare(text(file));
    }

    String networkBase64() throws IOException {
        return bare(Files.readString(network.resolve(name + ".key")));
    }

    PrivateKey merchantKey() throws IOException {
        return PemUtil.loadPrivateKeyFromString(text("merchant.key"));
    }

    PrivateKey networkKey() throws IOException {
        return PemUtil.loadPrivateKeyFromString(Files.readString(network.resolve(name + ".key")));
    }

    List<X509Certificate> certificates(String file) throws Exception {
        byte[] pem = Files.readAllBytes(merchant.resolve(file));
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        return factory.generateCertificates(new ByteArrayInputStream(pem)).stream()
            .map(certificate -> (X509Certificate) certificate)
            .toList();
    }

    String id(String field) throws IOException {
        JsonObject ids = Exchange.json(text("ids.json"));
        return ids.get(field).getAsString();
    }

    private static String bare(String pem) {
        return pem.replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
    }
}
