#!/usr/bin/env python3
"""Makes wide_*.slt: expressions of many kinds over many values, as PostgreSQL 15 answers them.

    sqllogictest/generate.py postgresql://postgres@127.0.0.1:5432/scratch [postgresql://root@127.0.0.1:26257/scratch]

Without the second server all are written. With it, those on which keepsafe differs are left out and listed in differences.txt: to be mended,
or known. Both databases are to be empty. Needs psycopg 3.
"""

import itertools
import pathlib
import sys

import psycopg
from psycopg import pq


def exprs():
    out={}
    T=["'hello'","'Héllo wörld'","''","'a,b,,c'","'  pad '","NULL::text","'%_x'"]
    f=[]
    for t in T:
        for e in ["upper({0})","lower({0})","length({0})","char_length({0})","octet_length({0})","reverse({0})","initcap({0})","md5({0})","trim({0})","btrim({0})","ltrim({0})","rtrim({0})","ascii({0})","repeat({0}, 2)","left({0}, 3)","right({0}, 3)","left({0}, -2)","right({0}, -2)","lpad({0}, 8)","rpad({0}, 8, '*')","lpad({0}, 3)","substr({0}, 2)","substr({0}, 2, 3)","substring({0} FROM 2 FOR 2)","substring({0}, 0, 3)","position('l' IN {0})","strpos({0}, 'l')","replace({0}, 'l', 'LL')","translate({0}, 'le', '12')","split_part({0}, ',', 2)","split_part({0}, ',', -1)","{0} || '!'","{0} LIKE 'h%'","{0} ILIKE 'H%'","{0} NOT LIKE '%l%'","{0} ~ '^h'","{0} ~* '^H'","{0} !~ 'o$'","regexp_replace({0}, 'l+', 'L')","regexp_replace({0}, 'l', 'L', 'g')","concat({0}, 1, NULL, true)","concat_ws('-', {0}, 'x', NULL)","starts_with({0}, 'he')","string_to_array({0}, ',')","quote_literal({0})","quote_ident({0})","overlay({0} PLACING 'XX' FROM 2 FOR 2)","{0} = 'hello'","{0} <> 'hello'","{0} < 'i'","{0} IS NULL","coalesce({0}, 'none')","nullif({0}, 'hello')","{0} IN ('hello', 'x')","{0} BETWEEN 'a' AND 'j'","encode({0}::bytea, 'hex')","to_hex(length({0}))","{0}::varchar(3)","{0}::char(4) || '|'","greatest({0}, 'b')","least({0}, 'b')","{0} IS DISTINCT FROM 'hello'","format('%s|%I|%L', {0}, 'a b', 'c')","regexp_match({0}, 'l(.)')","array_length(string_to_array({0}, ','), 1)","chr(65) || {0}"]:
            f.append(e.format(t))
    out['strings']=f
    f=[]
    N=["0","7","-7","2.5","-2.5","1e3","NULL::int","12345.678","3::int2","9007199254740993::int8","0.1::float8"]
    for n in N:
        for e in ["abs({0})","-({0})","sign({0})","ceil({0})","floor({0})","round({0})","trunc({0})","sqrt(abs({0}))","power({0}, 2)","exp({0} / 1000.0)","{0} + 1","{0} - 1.5","{0} * 3","{0} / 2","{0} / 4.0","{0} = 7","{0} > 0","{0} BETWEEN -3 AND 3","({0})::text","({0})::int","({0})::int8","({0})::numeric(10,2)","({0})::float8","({0})::float4","({0})::bool","coalesce({0}, 42)","greatest({0}, 1, 2)","least({0}, 1, 2)","nullif({0}, 7)","{0} IS NULL","pg_typeof({0})","pg_typeof({0} + 1)","pg_typeof({0} * 1.5)","{0} IN (7, 2.5)","round(({0})::numeric, 1)","trunc(({0})::numeric, 1)","({0})::int % 3","mod(({0})::int, 3)","({0})::int & 3","({0})::int | 8","({0})::int # 5","~(({0})::int)","({0})::int << 2","({0})::int >> 1","CASE WHEN {0} > 0 THEN 'pos' WHEN {0} < 0 THEN 'neg' ELSE 'none' END","({0})::int2","div(({0})::numeric, 2)","width_bucket(({0})::float8, 0, 10, 5)","gcd(({0})::int, 21)","lcm(({0})::int, 4)","degrees(({0})::float8)","ln(abs(({0})::float8) + 1)","log(abs(({0})::float8) + 1)","to_char(({0})::numeric, '9990.99')"]:
            f.append(e.format(n))
    f+=["1/0","1.0/0","0/0::float8","5 % 0","2147483647 + 1","9223372036854775807 + 1","-2147483648 - 1","100000 * 100000","sqrt(-1)","ln(0)","power(0, -1)","'abc'::int","'1.5'::int","' 12 '::int","'1e3'::float8","'NaN'::float8","'Infinity'::float8","'nan'::numeric","'12.50'::numeric","'x'::numeric","''::int","'99999999999'::int","40000::int2","1.5::int","2.5::int","3.5::int","-2.5::int","0.5::int","true::int","1::bool","'yes'::bool","'off'::bool","'maybe'::bool","pi()","round(2.567, 2)","round(-2.5)","round(2.5::float8)","round(1234.567, -2)","trunc(1234.567, -2)","ceil(-0.5)","5 / 2","-5 / 2","5 % -3","-5 % 3","5.5 % 2","2 ^ 10","2 ^ 0.5","@ -5","|/ 16","cbrt(27)","factorial(5)","random() < 1","1 + 2 * 3 - 4 / 2","(1 + 2) * 3","1::int2 + 1::int2","32767::int2 + 1::int2","1::float4 + 1::float8","0.1 + 0.2","0.1::float8 + 0.2::float8","1e400","1e400::float8","10.0 / 3","1 / 3.0","1.10 + 2.200","1.5 * 1.5","100::numeric(5,2)","1000::numeric(5,2)","12345.6789::numeric(10,2)"]
    out['numbers']=f
    f=[]
    D=["TIMESTAMP '2026-02-28 23:59:59.5'","TIMESTAMPTZ '2024-02-29 12:00:00+02'","DATE '2025-12-31'","NULL::timestamp"]
    for d in D:
        for u in ["year","month","day","hour","minute","second","dow","doy","week","quarter","isodow","isoyear","epoch","decade","century","millennium"]:
            f.append(f"extract({u} FROM {d})"); f.append(f"date_part('{u}', {d})")
        for u in ["year","month","day","hour","minute","second","week","quarter","decade"]:
            f.append(f"date_trunc('{u}', {d})")
        for e in ["{0} + INTERVAL '1 day'","{0} - INTERVAL '1 month'","{0} + INTERVAL '1 month 2 days 03:04:05'","({0})::date","({0})::timestamp","({0})::timestamptz","({0})::text","{0} > DATE '2025-01-01'","{0} = {0}","{0} IS NULL","to_char({0}, 'YYYY-MM-DD')","to_char({0}, 'HH24:MI:SS')","age({0}, TIMESTAMP '2000-01-01')","{0} BETWEEN '2025-01-01' AND '2027-01-01'","pg_typeof({0} + INTERVAL '1 day')","coalesce({0}, '2000-01-01')","({0})::time","{0} AT TIME ZONE 'UTC'"]:
            f.append(e.format(d))
    f+=["DATE '2026-03-01' - DATE '2026-02-01'","DATE '2026-01-31' + 1","DATE '2026-01-31' - 1","DATE '2026-01-31' + INTERVAL '1 month'","TIMESTAMP '2026-01-01' - TIMESTAMP '2025-12-25 12:00'","INTERVAL '1 day' + INTERVAL '2 hours'","INTERVAL '1 day' * 3","INTERVAL '3 days' / 2","-INTERVAL '1 day'","INTERVAL '1 year 2 months' = INTERVAL '14 months'","INTERVAL '30 days' = INTERVAL '1 month'","INTERVAL '1 day' > INTERVAL '23 hours'","INTERVAL '1-2'","INTERVAL '1 2:03:04'","INTERVAL 'P1Y2M3DT4H5M6S'","'1 week'::interval","'-1 day 2 hours'::interval","extract(epoch FROM INTERVAL '1 day 1 hour')","extract(day FROM INTERVAL '40 days')","justify_days(INTERVAL '40 days')","justify_hours(INTERVAL '30 hours')","justify_interval(INTERVAL '1 month -1 hour')","make_date(2026, 2, 28)","make_timestamp(2026, 2, 28, 1, 2, 3.5)","make_interval(days => 3)","to_timestamp(0)","to_date('2026-02-28', 'YYYY-MM-DD')","'2026-02-30'::date","'not a date'::date","'2026-13-01'::timestamp","'12:34:56'::time","TIME '12:34:56' + INTERVAL '1 hour'","TIME '23:30' + INTERVAL '1 hour'","DATE '2026-02-28' + TIME '10:00'","'epoch'::timestamp","'infinity'::timestamp","isfinite(DATE '2026-01-01')","'now'::text","date_bin('15 minutes', TIMESTAMP '2026-01-01 10:07:00', TIMESTAMP '2026-01-01')","(DATE '2026-01-01', DATE '2026-02-01') OVERLAPS (DATE '2026-01-15', DATE '2026-03-01')","current_date = current_date","now() = now()","'2026-01-01 00:00:00+00'::timestamptz AT TIME ZONE 'UTC'","TIMESTAMP '2026-01-01 00:00:00' AT TIME ZONE 'UTC'","'2026-01-01T10:20:30Z'::timestamptz","'20260101'::date","'Jan 5 2026'::date","'2026-01-01 10:00'::timestamp","extract(year FROM '2026-05-05'::date)"]
    out['dates']=f
    f=[]
    A=["ARRAY[1, 2, 3]","ARRAY['a', NULL, 'c']","'{}'::int[]","NULL::int[]","ARRAY[1.5, 2.5]"]
    for a in A:
        for e in ["{0}","array_length({0}, 1)","cardinality({0})","array_upper({0}, 1)","array_lower({0}, 1)","array_ndims({0})","({0})[1]","({0})[2]","({0})[9]","({0})[1:2]","array_to_string({0}, '-')","array_to_string({0}, '-', '*')","{0} || {0}","{0} = {0}","{0} @> {0}","{0} <@ {0}","{0} && {0}","array_append({0}, NULL)","array_reverse({0})","({0})::text","{0} IS NULL","pg_typeof({0})","array_cat({0}, {0})"]:
            f.append(e.format(a))
    f+=["2 = ANY (ARRAY[1, 2])","2 = ANY ('{1,3}'::int[])","3 <> ALL (ARRAY[1, 2])","5 > ALL (ARRAY[1, 2])","NULL = ANY (ARRAY[1, 2])","1 = ANY (ARRAY[NULL, 1])","2 = ANY (ARRAY[NULL, 1]::int[])","array_append(ARRAY[1], 2)","array_prepend(0, ARRAY[1])","array_remove(ARRAY[1, 2, 1], 1)","array_replace(ARRAY[1, 2], 2, 9)","array_position(ARRAY['a', 'b'], 'b')","array_positions(ARRAY[1, 2, 1], 1)","ARRAY[1, 2] < ARRAY[1, 3]","ARRAY[[1, 2], [3, 4]]","array_fill(7, ARRAY[3])","trim_array(ARRAY[1, 2, 3], 1)","'{1,2,NULL}'::int[]","'{a,\"b c\",NULL}'::text[]","'{1,x}'::int[]","'{1,2'::int[]","ARRAY[]::text[]","ARRAY(SELECT generate_series(1, 3))","(SELECT array_agg(x ORDER BY x DESC) FROM generate_series(1, 3) AS g (x))","string_to_array('a b', ' ')","array_length(ARRAY[]::int[], 1)","ARRAY[1, 2] || 3","0 || ARRAY[1, 2]","ARRAY['a'] || 'b'::text","ARRAY[1, NULL] = ARRAY[1, NULL]","ARRAY[true, false]","ARRAY[DATE '2026-01-01']","ARRAY[1, 2]::text[]","ARRAY['1', '2']::int[]","unnest(ARRAY[5])"]
    out['arrays']=f
    f=[]
    J=["'{\"a\": 1, \"b\": [1, 2, {\"c\": null}], \"d\": \"x\"}'::jsonb","'[1, \"two\", null, true]'::jsonb","'\"s\"'::jsonb","'12.50'::jsonb","NULL::jsonb","'{}'::jsonb"]
    for j in J:
        for e in ["{0}","{0} -> 'a'","{0} ->> 'd'","{0} -> 0","{0} ->> 1","{0} #> '{{b,1}}'","{0} #>> '{{b,2,c}}'","{0} ? 'a'","{0} ?| ARRAY['x', 'a']","{0} ?& ARRAY['a', 'b']","{0} @> '{{\"a\": 1}}'","{0} <@ '{{\"a\": 1}}'","{0} || '{{\"z\": 9}}'","{0} - 'a'","jsonb_typeof({0})","jsonb_pretty({0})","({0})::text","{0} = {0}","jsonb_strip_nulls({0})","{0} IS NULL","jsonb_set({0}, '{{a}}', '5')","jsonb_extract_path_text({0}, 'a')","jsonb_path_exists({0}, '$.a')"]:
            f.append(e.format(j))
    f+=["jsonb_build_object('a', 1, 'b', NULL)","jsonb_build_array(1, 'x', true, NULL)","to_jsonb('x'::text)","to_jsonb(1)","to_jsonb(ARRAY[1, 2])","jsonb_array_length('[1, 2]')","jsonb_array_length('{}')","'{bad'::jsonb","'{\"a\": 1, \"a\": 2}'::jsonb","'[1, 2]'::jsonb - 0","'[1, 2]'::jsonb || '3'","'{\"a\": {\"b\": 1}}'::jsonb #- '{a,b}'","jsonb_insert('[1, 2]', '{1}', '9')","jsonb_object('{a, 1, b, 2}')","(SELECT jsonb_agg(x) FROM generate_series(1, 2) AS g (x))","(SELECT jsonb_object_agg(x, x + 1) FROM generate_series(1, 2) AS g (x))","(SELECT json_agg(x) FROM generate_series(1, 2) AS g (x))","row_to_json(ROW(1, 'a'))","'1'::jsonb::int","'true'::jsonb::bool","'\"x\"'::jsonb::text","('{\"n\": 5}'::jsonb ->> 'n')::int + 1","('{\"n\": 5}'::jsonb -> 'n')::numeric"]
    out['json']=f
    f=[]
    B=["true","false","NULL::bool"]
    for a,b in itertools.product(B,B):
        f+= [f"{a} AND {b}",f"{a} OR {b}",f"{a} = {b}",f"{a} IS DISTINCT FROM {b}",f"{a} <> {b}"]
    for a in B: f+=[f"NOT {a}",f"{a} IS TRUE",f"{a} IS NOT FALSE",f"{a} IS UNKNOWN",f"({a})::text",f"({a})::int",f"coalesce({a}, true)",f"CASE {a} WHEN true THEN 1 WHEN false THEN 0 END"]
    U=["'11111111-2222-3333-4444-555555555555'::uuid"]
    f+=["'11111111-2222-3333-4444-555555555555'::uuid","'{11111111222233334444555555555555}'::uuid","'nope'::uuid","gen_random_uuid() <> gen_random_uuid()","'a'::uuid IS NULL","'\\xdeadbeef'::bytea","encode('\\xdeadbeef'::bytea, 'base64')","decode('3q2+7w==', 'base64')","length('\\x0102'::bytea)","'\\x01'::bytea || '\\x02'::bytea","substring('\\x010203'::bytea FROM 2)","get_byte('\\x0102'::bytea, 1)","sha256('abc'::bytea)","'abc'::bytea","'a\\000b'::bytea","'\\xzz'::bytea","ROW(1, 2) = ROW(1, 2)","ROW(1, 2) < ROW(1, 3)","(1, 2) IN ((1, 2), (3, 4))","(1, NULL) = (1, 2)","(1, 2) IS NULL","ROW(NULL, NULL) IS NULL","1 IN (1, NULL)","2 IN (1, NULL)","2 NOT IN (1, NULL)","NULL IN (1, 2)","1 BETWEEN SYMMETRIC 3 AND 0","'a' COLLATE \"C\" < 'B'","EXISTS (SELECT 1)","EXISTS (SELECT 1 WHERE false)","(SELECT 1)","(SELECT 1 WHERE false)","(SELECT 1 UNION ALL SELECT 2)","num_nulls(1, NULL, 2)","num_nonnulls(1, NULL, 2)","current_schema()","current_database() IS NOT NULL","pg_typeof('x')","pg_typeof(NULL)","pg_typeof('x'::varchar)","pg_typeof(now())","version() LIKE 'PostgreSQL%'","1::text || 2","'5'::int + 5","'5' + 5","'2026-01-01' < DATE '2026-01-02'","1 = 1.0","1::int2 = 1::int8","'abc' = 'abc '","'abc'::char(5) = 'abc'","length('abc'::char(5))","'t'::bool","current_setting('server_version_num')::int > 100000","to_regclass('nope')","'pg_class'::regclass","has_table_privilege('pg_class', 'SELECT')","5 IS NOT DISTINCT FROM NULL","COALESCE(NULL, NULL)","NULLIF(1, 1)","GREATEST(NULL, 1)","LEAST(NULL, NULL)"]
    out['logic']=f
    return out
def tables():
    setup=["CREATE TABLE emp (id INT PRIMARY KEY, name TEXT, dept TEXT, pay NUMERIC(10,2), hired DATE, boss INT, tags TEXT[])",
    "INSERT INTO emp VALUES (1,'ann','eng',100.50,'2020-01-15',NULL,'{a,b}'),(2,'bob','eng',80,'2021-03-01',1,'{b}'),(3,'cid','ops',70.25,'2019-07-20',1,NULL),(4,'dee','ops',NULL,'2022-11-11',3,'{}'),(5,'eve',NULL,95,'2023-05-05',3,'{c}'),(6,'fay','hr',60,NULL,1,'{a}')",
    "CREATE TABLE dept (name TEXT PRIMARY KEY, city TEXT)","INSERT INTO dept VALUES ('eng','rome'),('ops','oslo'),('law','bern')"]
    q=[]
    aggs=["count(*)","count(pay)","count(DISTINCT dept)","sum(pay)","avg(pay)","min(pay)","max(pay)","min(name)","max(hired)","string_agg(name, ',' ORDER BY name)","array_agg(name ORDER BY name)","array_agg(pay ORDER BY id)","bool_and(pay > 65)","bool_or(pay IS NULL)","every(pay > 0)","sum(id)","avg(id)","sum(pay) FILTER (WHERE id > 2)","count(*) FILTER (WHERE dept = 'eng')","string_agg(DISTINCT dept, '|' ORDER BY dept)","stddev(id)","variance(id)","stddev_pop(id)","var_samp(id)","corr(id, id)","percentile_cont(0.5) WITHIN GROUP (ORDER BY id)","percentile_disc(0.5) WITHIN GROUP (ORDER BY id)","mode() WITHIN GROUP (ORDER BY dept)","jsonb_agg(name ORDER BY id)","bit_and(id)","bit_or(id)","sum(id * 1.5)","max(length(name))","count(*) * 2 + 1","round(avg(pay), 1)","coalesce(sum(pay), 0)"]
    for a in aggs:
        q.append(f"SELECT {a} FROM emp"); q.append(f"SELECT {a} FROM emp WHERE false"); q.append(f"SELECT dept, {a} FROM emp GROUP BY dept ORDER BY dept NULLS LAST")
        q.append(f"SELECT {a} FROM emp GROUP BY dept HAVING count(*) > 1 ORDER BY dept")
    wins=["row_number()","rank()","dense_rank()","percent_rank()","cume_dist()","ntile(3)","lag(name)","lag(name, 2)","lag(name, 1, 'none')","lead(pay)","first_value(name)","last_value(name)","nth_value(name, 2)","sum(pay)","count(*)","avg(pay)","min(pay)","max(name)","string_agg(name, ',')","sum(id)","array_agg(id)"]
    overs=["ORDER BY id","PARTITION BY dept ORDER BY id","ORDER BY pay DESC NULLS LAST, id","PARTITION BY dept","ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING","ORDER BY id ROWS UNBOUNDED PRECEDING","ORDER BY id RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW","ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"]
    for w in wins:
        for o in overs: q.append(f"SELECT id, {w} OVER ({o}) FROM emp ORDER BY id")
    joins=["e JOIN dept d ON d.name = e.dept","e LEFT JOIN dept d ON d.name = e.dept","e RIGHT JOIN dept d ON d.name = e.dept","e FULL JOIN dept d ON d.name = e.dept","e CROSS JOIN dept d","e, dept d WHERE d.name = e.dept","e LEFT JOIN dept d ON d.name = e.dept AND d.city = 'rome'","e JOIN dept d ON d.name <> e.dept"]
    for j in joins:
        q.append(f"SELECT e.id, d.city FROM emp {j} ORDER BY 1 NULLS LAST, 2 NULLS FIRST"); q.append(f"SELECT count(*), count(e.id), count(d.city) FROM emp {j}"); q.append(f"SELECT d.city, count(*) FROM emp {j} GROUP BY d.city ORDER BY 2 DESC, 1 NULLS LAST")
    misc=["SELECT b.name, e.name FROM emp e JOIN emp b ON b.id = e.boss ORDER BY 1, 2","SELECT name FROM emp WHERE pay > (SELECT avg(pay) FROM emp) ORDER BY name","SELECT name FROM emp e WHERE EXISTS (SELECT 1 FROM emp c WHERE c.boss = e.id) ORDER BY name","SELECT name FROM emp e WHERE NOT EXISTS (SELECT 1 FROM emp c WHERE c.boss = e.id) ORDER BY name","SELECT name, (SELECT count(*) FROM emp c WHERE c.boss = e.id) FROM emp e ORDER BY name","SELECT name FROM emp WHERE dept IN (SELECT name FROM dept WHERE city = 'oslo') ORDER BY 1","SELECT name FROM emp WHERE dept NOT IN (SELECT name FROM dept) ORDER BY 1","SELECT name FROM emp WHERE id = ANY (SELECT boss FROM emp) ORDER BY 1","SELECT dept FROM emp UNION SELECT name FROM dept ORDER BY 1 NULLS FIRST","SELECT dept FROM emp INTERSECT SELECT name FROM dept ORDER BY 1","SELECT name FROM dept EXCEPT SELECT dept FROM emp ORDER BY 1","SELECT dept FROM emp UNION ALL SELECT name FROM dept ORDER BY 1 NULLS LAST LIMIT 4 OFFSET 2","SELECT DISTINCT dept FROM emp ORDER BY dept","SELECT DISTINCT ON (dept) dept, name FROM emp ORDER BY dept, pay DESC NULLS LAST","SELECT dept, boss, count(*) FROM emp GROUP BY ROLLUP (dept, boss) ORDER BY 1 NULLS LAST, 2 NULLS LAST, 3","SELECT dept, boss, count(*) FROM emp GROUP BY CUBE (dept, boss) ORDER BY 1 NULLS LAST, 2 NULLS LAST, 3","SELECT dept, boss, count(*), grouping(dept) FROM emp GROUP BY GROUPING SETS ((dept), (boss), ()) ORDER BY 1 NULLS LAST, 2 NULLS LAST, 3, 4","WITH RECURSIVE up AS (SELECT id, name, boss, 0 AS depth FROM emp WHERE boss IS NULL UNION ALL SELECT e.id, e.name, e.boss, u.depth + 1 FROM emp e JOIN up u ON e.boss = u.id) SELECT name, depth FROM up ORDER BY depth, name","WITH a AS (SELECT * FROM emp WHERE pay > 75), b AS (SELECT dept, count(*) AS n FROM a GROUP BY dept) SELECT * FROM b ORDER BY 1 NULLS LAST","SELECT x, y FROM (VALUES (1, 'a'), (2, 'b')) AS v (x, y) ORDER BY x DESC","VALUES (1, 'x'), (2, 'y') ORDER BY 1 DESC","SELECT * FROM generate_series(1, 5, 2) AS g (i)","SELECT i, i * i AS sq FROM generate_series(3, 1, -1) AS g (i)","SELECT d::date FROM generate_series(DATE '2026-01-01', DATE '2026-01-03', INTERVAL '1 day') AS g (d)","SELECT e.name, t FROM emp e, unnest(e.tags) AS t ORDER BY 1, 2","SELECT e.name, t.n FROM emp e CROSS JOIN LATERAL (SELECT length(e.name) AS n) t ORDER BY 1","SELECT name, CASE WHEN pay IS NULL THEN 'n/a' WHEN pay > 90 THEN 'high' ELSE 'low' END FROM emp ORDER BY id","SELECT name FROM emp ORDER BY pay DESC NULLS LAST, name","SELECT name FROM emp ORDER BY pay NULLS FIRST, name LIMIT 2","SELECT name FROM emp ORDER BY length(name), name DESC","SELECT dept AS d FROM emp GROUP BY d ORDER BY d NULLS FIRST","SELECT id % 2 AS odd, count(*) FROM emp GROUP BY odd ORDER BY odd","SELECT id FROM emp WHERE name LIKE '_a%' ORDER BY id","SELECT id FROM emp WHERE tags @> ARRAY['a'] ORDER BY id","SELECT id FROM emp WHERE 'b' = ANY (tags) ORDER BY id","SELECT id FROM emp WHERE tags IS NULL OR tags = '{}' ORDER BY id","SELECT id, tags[1] FROM emp ORDER BY id","SELECT id, array_length(tags, 1) FROM emp ORDER BY id","SELECT extract(year FROM hired) AS y, count(*) FROM emp GROUP BY y ORDER BY y NULLS LAST","SELECT date_trunc('year', hired), max(pay) FROM emp GROUP BY 1 ORDER BY 1 NULLS LAST","SELECT nope FROM emp","SELECT id FROM nowhere","SELECT emp.id FROM emp e","SELECT name, count(*) FROM emp","SELECT id FROM emp GROUP BY dept","SELECT id FROM emp ORDER BY 3","SELECT sum(name) FROM emp","SELECT id FROM emp WHERE sum(id) > 1","SELECT max(sum(id)) FROM emp","SELECT id FROM emp LIMIT -1","SELECT 1 +","SELECT name FROM emp e JOIN dept d ON true ORDER BY name","SELECT upper(id) FROM emp","SELECT nofunc(1)","SELECT id + name FROM emp","SELECT * FROM emp WHERE id = 'x'","SELECT (SELECT id FROM emp)","SELECT count(DISTINCT (dept, boss)) FROM emp","SELECT e FROM emp e WHERE id = 1","SELECT row_number() OVER w, sum(pay) OVER w FROM emp WINDOW w AS (PARTITION BY dept ORDER BY id) ORDER BY 1, 2","SELECT id, sum(pay) OVER (ORDER BY id) - pay FROM emp ORDER BY id","SELECT * FROM (SELECT id, rank() OVER (PARTITION BY dept ORDER BY pay DESC NULLS LAST) AS r FROM emp) x WHERE r = 1 ORDER BY id","SELECT id FROM emp WHERE (dept, boss) = ('ops', 1)","SELECT id FROM emp WHERE (id, name) > (3, 'cid') ORDER BY id","SELECT id FROM emp WHERE hired BETWEEN '2020-01-01' AND '2021-12-31' ORDER BY id","SELECT id FROM emp WHERE hired > DATE '2022-01-01' - INTERVAL '1 year' ORDER BY id","SELECT string_agg(name, ', ' ORDER BY pay DESC NULLS LAST) FROM emp WHERE dept IS NOT NULL","SELECT dept, string_agg(name, ',' ORDER BY name DESC) FROM emp GROUP BY dept HAVING count(*) >= 2 ORDER BY 1","SELECT * FROM emp NATURAL JOIN (SELECT 1 AS id) x","SELECT id, d.city FROM emp JOIN dept d USING (name)","SELECT coalesce(dept, 'none') AS d, sum(coalesce(pay, 0)) FROM emp GROUP BY coalesce(dept, 'none') ORDER BY d","SELECT count(*) FROM emp TABLESAMPLE SYSTEM (100)","SELECT id FROM emp OFFSET 4","TABLE dept","SELECT ALL id FROM emp ORDER BY id LIMIT 1","SELECT id FROM ONLY emp ORDER BY id LIMIT 1"]
    q+=misc
    return setup,q


def run(connection, sql):
    """The rows as text, or the SQLSTATE."""
    result = connection.pgconn.exec_(sql.encode())
    if result.status == pq.ExecStatus.TUPLES_OK:
        cell = lambda row, column: result.get_value(row, column)
        rows = [[cell(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]
        return "rows", [[None if value is None else value.decode() for value in row] for row in rows]
    if result.status == pq.ExecStatus.COMMAND_OK:
        return "ok", None
    return "error", result.error_field(pq.DiagnosticField.SQLSTATE).decode()


def record(sql, answer):
    kind, value = answer
    if kind == "error":
        return f"statement error {value}\n{sql}\n"
    shown = lambda cell: "NULL" if cell is None else cell or "(empty)"
    lines = "".join(" ".join(map(shown, row)) + "\n" for row in value)
    return f"query {'T' * len(value[0] if value else 'T')}\n{sql}\n----\n{lines}"


def is_plain(answer):
    """Whether the file's format can hold it: cells are apart by one blank, rows by a line's end."""
    cells = [cell for row in answer[1] for cell in row] if answer[0] == "rows" else []
    return not any(cell and ("\n" in cell or "  " in cell or cell != cell.strip()) for cell in cells)


def main():
    here = pathlib.Path(__file__).parent
    postgres, *keepsafe = [psycopg.connect(url, autocommit=True) for url in sys.argv[1:]]
    setup, queries = tables()
    groups = {name: ["SELECT " + one for one in group] for name, group in exprs().items()} | {"tables": queries}
    differences = []
    for name, group in groups.items():
        records = [f"# Made by generate.py: {name}, as PostgreSQL 15 answers them.\n"]
        for statement in setup if name == "tables" else []:
            [run(server, statement) for server in [postgres, *keepsafe]]
            records.append(f"statement ok\n{statement}\n")
        for sql in dict.fromkeys(group):
            wanted = run(postgres, sql)
            found = [run(server, sql) for server in keepsafe]
            if any(answer != wanted for answer in found):
                differences.append(f"{sql}\n    PostgreSQL: {wanted[1]}\n    keepsafe: {found[0][1]}\n")
            elif is_plain(wanted):
                records.append(record(sql, wanted))
        (here / f"wide_{name}.slt").write_text("\n".join(records))
    if keepsafe:
        (here / "differences.txt").write_text("\n".join(differences))


main()
