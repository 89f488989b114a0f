-- Claims of the caller's token that row-level policies can trust. Run it once in the database, as a role that users
-- cannot become; then give it the gateway's key:  SELECT actas.set_key('the value of signed_claims.key');
--
--     CREATE POLICY tenant ON documents USING (tenant = (SELECT actas.claims() ->> 'tenant'));
--
-- actas.claims() is NULL where nothing was signed, the signature is wrong, its time is up, or it was signed for
-- somebody else than session_user: then no row passes a policy like this one.
CREATE SCHEMA actas;
CREATE TABLE actas.signing_key (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), inner_pad bytea, outer_pad bytea);
REVOKE ALL ON SCHEMA actas FROM PUBLIC;
REVOKE ALL ON actas.signing_key FROM PUBLIC;

CREATE FUNCTION actas.set_key(key text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    block bytea := convert_to(key, 'UTF8');
    inside bytea;
    outside bytea;
BEGIN
    IF length(block) < 32 THEN RAISE EXCEPTION 'the key is shorter than 32 bytes'; END IF;
    IF length(block) > 64 THEN block := sha256(block); END IF;
    block := block || decode(repeat('00', 64 - length(block)), 'hex');
    inside := block;
    outside := block;
    FOR i IN 0..63 LOOP
        inside := set_byte(inside, i, get_byte(block, i) # 54);
        outside := set_byte(outside, i, get_byte(block, i) # 92);
    END LOOP;
    INSERT INTO actas.signing_key (inner_pad, outer_pad) VALUES (inside, outside)
        ON CONFLICT (only_one) DO UPDATE SET inner_pad = inside, outer_pad = outside;
END $$;
REVOKE ALL ON FUNCTION actas.set_key(text) FROM PUBLIC;

CREATE FUNCTION actas.claims() RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    sent text := current_setting('actas.signed_claims', true);
    body text := split_part(sent, '.', 1);
    signature bytea;
    signed jsonb;
BEGIN
    SELECT sha256(outer_pad || sha256(inner_pad || convert_to(body, 'UTF8'))) INTO signature FROM actas.signing_key;
    -- Hashed once more, so that the time of the comparison tells nothing.
    IF sent IS NULL OR signature IS NULL
        OR sha256(convert_to(encode(signature, 'hex'), 'UTF8')) <> sha256(convert_to(split_part(sent, '.', 2), 'UTF8'))
    THEN RETURN NULL; END IF;
    signed := convert_from(decode(body, 'base64'), 'UTF8')::jsonb;
    IF signed ->> 'role' <> session_user OR (signed ->> 'exp')::numeric < extract(epoch FROM clock_timestamp())
    THEN RETURN NULL; END IF;
    RETURN signed -> 'claims';
END $$;
REVOKE ALL ON FUNCTION actas.claims() FROM PUBLIC;
GRANT USAGE ON SCHEMA actas TO app_users;
GRANT EXECUTE ON FUNCTION actas.claims() TO app_users;
