// npm install @duckdb/node-api@1.4.4-r.1, then: node make.mjs. Writes the same 40 rows with DuckDB, in two compressions.
import { DuckDBInstance } from '@duckdb/node-api';

const connection = await (await DuckDBInstance.create()).connect();
for (const codec of ['snappy', 'gzip'])
  await connection.run(`copy (
    select 'image ' || i as name, [i + 0.5, -i - 1, 1]::float[] as vector, [i, 0.25]::double[2] as pair, 7 * (i % 3) as person
    from range(40) t(i)
  ) to '${codec}.parquet' (format parquet, compression ${codec})`);
