"""The allow-lists: PostgreSQL's own functions, operators and types that a statement may name.

Whatever is not here is refused. Left out on purpose, though PostgreSQL calls them immutable or stable:
those that run SQL given as text (``query_to_xml`` and kin, ``ts_rewrite``), that read settings
(``current_setting``) or files, that tell about other sessions, or that work for minutes without looking
whether they were cancelled (``translate``, ``normalize``, the geometry of paths and polygons).
"""

READ_FUNCTIONS = frozenset(
    """
    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every
    json_agg json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique
    json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict
    jsonb_object_agg_unique jsonb_object_agg_unique_strict max min mode percentile_cont percentile_disc
    range_agg range_intersect_agg regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
    regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
    abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd
    degrees div erf erfc exp factorial floor gamma gcd lcm lgamma ln log log10 min_scale mod pi pow power radians
    random random_normal round scale sign sin sind sinh sqrt tan tand tanh trim_scale trunc width_bucket
    ascii bit_count bit_length btrim casefold char_length character_length chr concat concat_ws convert
    convert_from convert_to crc32 crc32c decode encode format get_bit get_byte initcap left length
    like_escape lower lpad ltrim md5 octet_length overlay parse_ident position quote_ident
    quote_literal quote_nullable regexp_count regexp_instr regexp_like regexp_match regexp_matches
    regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right rpad
    rtrim set_bit set_byte sha224 sha256 sha384 sha512 similar_escape similar_to_escape split_part starts_with
    string_to_array string_to_table strpos substr substring to_ascii to_bin to_hex to_oct
    unicode_assigned unistr upper
    to_char to_date to_number to_timestamp
    age clock_timestamp date date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days
    justify_hours justify_interval make_date make_interval make_time make_timestamp make_timestamptz now overlaps
    statement_timestamp timeofday timezone transaction_timestamp
    gen_random_uuid uuidv4 uuidv7 uuid_extract_timestamp uuid_extract_version
    array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position
    array_positions array_prepend array_remove array_replace array_reverse array_sort
    array_to_json array_to_string array_upper cardinality generate_series generate_subscripts trim_array unnest
    enum_first enum_last enum_range num_nonnulls num_nulls
    json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each
    json_each_text json_extract_path json_extract_path_text json_object json_object_keys json_populate_record
    json_populate_recordset json_strip_nulls json_to_record json_to_recordset json_typeof
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object
    jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object
    jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query
    jsonb_path_query_array jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz
    jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax
    jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof row_to_json to_json to_jsonb
    datemultirange daterange int4multirange int4range int8multirange int8range isempty lower_inc lower_inf
    multirange nummultirange numrange range_merge tsmultirange tsrange tstzmultirange tstzrange upper_inc upper_inf
    array_to_tsvector get_current_ts_config json_to_tsvector jsonb_to_tsvector numnode phraseto_tsquery
    plainto_tsquery querytree setweight strip to_tsquery to_tsvector ts_delete ts_filter ts_headline ts_rank
    ts_rank_cd tsquery_phrase tsvector_to_array websearch_to_tsquery
    abbrev broadcast family host hostmask inet_merge inet_same_family masklen netmask network set_masklen
    area box center diagonal height ishorizontal isparallel isperp isvertical line lseg point slope width
    col_description current_catalog current_database current_schema current_schemas current_user
    format_type has_any_column_privilege has_column_privilege has_database_privilege has_schema_privilege
    has_sequence_privilege has_table_privilege has_type_privilege obj_description pg_column_size
    pg_get_constraintdef pg_get_expr pg_get_indexdef pg_get_partkeydef pg_get_serial_sequence
    pg_get_viewdef pg_has_role pg_indexes_size pg_relation_size pg_size_bytes pg_size_pretty
    pg_table_is_visible pg_table_size pg_total_relation_size pg_typeof row_security_active session_user
    shobj_description to_regclass to_regnamespace to_regrole to_regtype version
    """.split()
)
"""Functions of ``pg_catalog`` that any statement may call."""

WRITE_FUNCTIONS = frozenset("nextval currval lastval setval".split())
"""Functions of ``pg_catalog`` that a statement may call from the write level up."""

TRIM_FUNCTIONS = frozenset("btrim ltrim rtrim".split())
"""Functions whose time is the text's length times that of the second argument."""

OPERATORS = frozenset(
    """
    !! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <-> << <<= <<|
    <= <> <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&> |/ |>> || ||/ ~ ~* ~<=~
    ~<~ ~= ~>=~ ~>~ ~~ ~~*
    BETWEEN BETWEEN_SYMMETRIC NOT_BETWEEN NOT_BETWEEN_SYMMETRIC
    """.split()
)
"""PostgreSQL's own operators, and the parser's names of BETWEEN (a blank written as ``_``)."""

TYPES = frozenset(
    """
    bit bool box bpchar bytea char cid cidr date datemultirange daterange float4 float8 inet int2 int4
    int4multirange int4range int8 int8multirange int8range interval json jsonb jsonpath line lseg macaddr macaddr8
    money name numeric nummultirange numrange oid pg_lsn point record regclass regconfig
    regdictionary regnamespace regrole regtype text tid time timestamp timestamptz timetz tsmultirange tsquery
    tsrange tstzmultirange tstzrange tsvector uuid varbit varchar xid xid8 xml
    """.split()
)
"""Types of ``pg_catalog`` that a statement may cast to and declare."""

SERIAL_TYPES = frozenset("smallserial serial2 serial serial4 bigserial serial8".split())
"""What CREATE TABLE understands besides :data:`TYPES`."""
