import com.alipay.api.AlipayRequest;
import com.alipay.api.AlipayResponse;
import com.alipay.api.SignItem;
import com.alipay.api.internal.parser.json.ObjectJsonParser;
import com.alipay.api.internal.util.AlipaySignature;
import com.alipay.api.request.AlipayTradeCancelRequest;
import com.alipay.api.request.AlipayTradeCloseRequest;
import com.alipay.api.request.AlipayTradeFastpayRefundQueryRequest;
import com.alipay.api.request.AlipayTradePrecreateRequest;
import com.alipay.api.request.AlipayTradeQueryRequest;
import com.alipay.api.request.AlipayTradeRefundRequest;
import java.util.List;
import java.util.Map;

/** Alipay's own kit, alipay-sdk-java. */
final class Alipay implements Network {
    private static final List<AlipayRequest<? extends AlipayResponse>> CALLS = List.of(
        new AlipayTradePrecreateRequest(), new AlipayTradeQueryRequest(), new AlipayTradeCancelRequest(),
        new AlipayTradeCloseRequest(), new AlipayTradeRefundRequest(), new AlipayTradeFastpayRefundQueryRequest());

    private final String appId;
    private final String merchantKey;
    private final String merchantPublic;
    private final String networkKey;
    private final String networkPublic;

    Alipay(Keys keys) throws Exception {
        appId = keys.id("appId");
        merchantKey = keys.base64("merchant.key");
        merchantPublic = keys.base64("merchant.pub");
        networkKey = keys.networkBase64();
        networkPublic = keys.base64("network.pub");
    }

    @Override
    public String name(Exchange exchange) {
        return exchange.network;
    }

    @Override
    public void request(Exchange exchange) throws Exception {
        Map<String, String> fields = exchange.form();
        ours(fields);
        String sign = fields.remove("sign");
        String text = AlipaySignature.getSignContent(fields);
        Refused.unless(AlipaySignature.rsaCheck(text, sign, merchantPublic, "utf-8", "RSA2"), "not verified");
        Refused.unlessSame(AlipaySignature.rsa256Sign(text, merchantKey, "utf-8"), sign, "the signature");
    }

    @Override
    public void reply(Exchange exchange) throws Exception {
        String method = exchange.form().get("method");
        AlipayRequest<? extends AlipayResponse> call = CALLS.stream()
            .filter(known -> known.getApiMethodName().equals(method))
            .findFirst()
            .orElseThrow(() -> new Refused("no method " + method));
        ObjectJsonParser<? extends AlipayResponse> parser = new ObjectJsonParser<>(call.getResponseClass());
        SignItem item = parser.getSignItem(call, exchange.answer.body);
        String text = item.getSignSourceDate();
        Refused.unless(
            AlipaySignature.rsaCheck(text, item.getSign(), networkPublic, "utf-8", "RSA2"), "not verified");
        Refused.unlessSame(AlipaySignature.rsa256Sign(text, networkKey, "utf-8"), item.getSign(), "the signature");
        // What is signed is only the inner object; around it stand its name and the signature, nothing else.
        Refused.unless(Exchange.json(exchange.answer.body).size() == 2, "more than was signed");
    }

    @Override
    public void notification(Exchange exchange) throws Exception {
        Map<String, String> fields = exchange.form();
        ours(fields);
        String sign = fields.get("sign");
        Refused.unless(AlipaySignature.rsaCheckV1(exchange.form(), networkPublic, "utf-8", "RSA2"), "not verified");
        String text = AlipaySignature.getSignCheckContentV1(fields);
        Refused.unlessSame(AlipaySignature.rsa256Sign(text, networkKey, "utf-8"), sign, "the signature");
    }

    private void ours(Map<String, String> fields) {
        Refused.unless(appId.equals(fields.get("app_id")), "another app_id");
        Refused.unless("RSA2".equals(fields.get("sign_type")), "another sign_type");
    }
}
