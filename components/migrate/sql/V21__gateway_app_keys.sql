-- Apps sign in several ways: a key says which one is its own.

-- Whoever reads this table for long does not keep payments waiting behind us.
SET LOCAL lock_timeout = '5s';
ALTER TABLE gateway.app_keys
    -- The default is for the release before this one.
    ADD COLUMN algorithm text NOT NULL DEFAULT 'ecdsa-p256-sha256' CHECK (algorithm IN
        ('ecdsa-p256-sha256', 'rsa-pss-sha512', 'rsa-v1_5-sha256', 'hmac-sha256', 'sm2-sm3', 'hmac-sm3')),
    -- An uncompressed point (ECDSA, SM2), a SubjectPublicKeyInfo (RSA), or a secret that is
    -- sealed with the tenant's data key (HMAC).
    DROP CONSTRAINT app_keys_public_key_check,
    ADD CONSTRAINT app_keys_public_key_check CHECK (octet_length(public_key) BETWEEN 60 AND 1024);

-- The audit says how a key signs; of a secret it has the digest of what is stored, which is sealed.
CREATE OR REPLACE FUNCTION gateway.key_as_noted(p_key jsonb) RETURNS jsonb LANGUAGE sql STRICT
SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('app_id', p_key -> 'app_id', 'key_id', p_key -> 'key_id',
        'algorithm', p_key -> 'algorithm',
        'public_key_sha256', encode(sha256(decode(substr(p_key ->> 'public_key', 3), 'hex')), 'hex'));
$$;
