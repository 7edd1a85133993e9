//! Cards that are opened, as a merchant with OpenSSL sees it.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::pem::parse_x509_pem;

use super::{Fields, Merchant, fields, now};
use crate::stage::runtime;

const CARD: &str = "6222020200112230018";
const PHONE: &str = "13800138000";

impl Merchant {
    /// `openssl pkeyutl -encrypt -certin`, PKCS#1 v1.5.
    fn encrypts(&self, text: &str) -> String {
        let mut openssl = Command::new("openssl")
            .args(["pkeyutl", "-encrypt", "-certin", "-pkeyopt", "rsa_padding_mode:pkcs1", "-inkey"])
            .arg(self.stage.path("unionpay/encrypt.crt"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        STANDARD.encode(openssl.wait_with_output().unwrap().stdout)
    }

    fn encrypt_cert_id(&self) -> String {
        let (_, pem) = parse_x509_pem(&self.stage.file("unionpay/encrypt.crt")).unwrap();
        pem.parse_x509().unwrap().tbs_certificate.serial.to_string()
    }

    fn about_tokens(
        &self,
        kind: (&str, &str),
        (number, time): (&str, &str),
        more: &[(&str, &str)],
    ) -> Fields {
        let base = [("channelType", "07"), ("tokenPayData", "{trId=62000000001&tokenType=01}")];
        let mut message = self.message(kind, number, time, &base);
        message.extend(fields(&[("bizType", "000902")]));
        message.extend(fields(more));
        message
    }

    /// 77, or 79 with a code.
    async fn card(
        &self,
        kind: &str,
        about: (&str, &str),
        (card, phone): (&str, &str),
        beside: &str,
    ) -> Fields {
        let phone = self.encrypts(&format!("phoneNo={phone}"));
        let customer = STANDARD.encode(format!("{{{beside}encryptedInfo={phone}}}"));
        let (card, id) = (self.encrypts(card), self.encrypt_cert_id());
        let more = [("accNo", card.as_str()), ("customerInfo", &customer), ("encryptCertId", &id)];
        self.call("backTransReq", self.about_tokens((kind, "00"), about, &more)).await
    }

    async fn opened(&self, about: (&str, &str)) -> Fields {
        self.call("backTransReq", self.about_tokens(("78", "02"), about, &[])).await
    }

    async fn by_token(&self, kind: &str, about: (&str, &str), token: &str) -> Fields {
        let data = format!("{{trId=62000000001&token={token}}}");
        let hook = self.stage.hook(&format!("/{}", about.0));
        let more = [
            ("tokenPayData", data.as_str()),
            ("txnAmt", "1000"),
            ("currencyCode", "156"),
            ("backUrl", &hook),
        ];
        self.call("backTransReq", self.about_tokens((kind, "01"), about, &more)).await
    }
}

fn code(told: &Fields) -> &str {
    told["respCode"].as_str()
}

#[test]
fn a_card_is_opened_by_its_code_paid_by_its_token_and_closed() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let time = now();
        let about = ("card00001", time.as_str());
        assert_eq!(code(&merchant.opened(about).await), "34");
        assert_eq!(code(&merchant.card("77", about, (CARD, PHONE), "").await), "00");
        assert_eq!(code(&merchant.opened(about).await), "77");
        let named = |code: &str| format!("customerNm=张三&smsCode={code}&");
        let opens = async |owner, code: &str| merchant.card("79", about, owner, &named(code)).await;
        assert_eq!(code(&opens((CARD, PHONE), "901234").await), "71");
        assert_eq!(code(&opens((CARD, "13800138001"), "801234").await), "66");
        assert_eq!(code(&opens(("6222020200112230026", PHONE), "801234").await), "66");
        let opened = opens((CARD, PHONE), "801234").await;
        let data = opened["tokenPayData"].clone();
        let token = data.split(['{', '&']).find_map(|pair| pair.strip_prefix("token=")).unwrap();
        assert_eq!((code(&opened), token.len()), ("00", 19));
        assert_eq!(merchant.opened(about).await["tokenPayData"], data);

        assert_eq!(code(&merchant.by_token("01", ("paid00001", &time), token).await), "00");
        let told = merchant.stage.told("/paid00001", 1).await[0].body.clone();
        assert!(merchant.is_right(&crate::stage::read_form(&told)) && told.contains("bizType=000902"));
        assert_eq!(code(&merchant.by_token("01", ("paid00002", &time), "6235240000020837057").await), "77");
        for number in ["gone00001", "gone00002"] {
            assert_eq!(code(&merchant.by_token("74", (number, &time), token).await), "00");
        }
        assert_eq!(code(&merchant.opened(about).await), "77");
        assert_eq!(code(&merchant.by_token("01", ("paid00003", &time), token).await), "77");
    });
}

#[test]
fn what_is_not_encrypted_for_the_network_is_refused() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let time = now();
        let about = ("card00002", time.as_str());
        let id = merchant.encrypt_cert_id();
        let phone = merchant.encrypts(&format!("phoneNo={PHONE}"));
        let good = STANDARD.encode(format!("{{encryptedInfo={phone}}}"));
        let plain = STANDARD.encode(format!("{{phoneNo={PHONE}&encryptedInfo={phone}}}"));
        let card = merchant.encrypts(CARD);
        for (card, customer, id, requestor) in [
            (CARD, good.as_str(), id.as_str(), "62000000001"),
            (&card, &plain, &id, "62000000001"),
            (&card, &good, "1", "62000000001"),
            (&card, &good, &id, "62000000002"),
        ] {
            let data = format!("{{trId={requestor}&tokenType=01}}");
            let more =
                [("accNo", card), ("customerInfo", customer), ("encryptCertId", id), ("tokenPayData", &data)];
            let message = merchant.about_tokens(("77", "00"), about, &more);
            assert_eq!(code(&merchant.call("backTransReq", message).await), "10");
        }
    });
}
