// A process of its own (roll-out-faults.ts starts and kills it): a PostgreSQL with pgvector that keeps its data in a folder. Arguments:
// folder, port. Prints a line when it answers.
import { startPostgres } from '../../test/helpers/postgres.ts';

const [folder, port] = process.argv.slice(2) as [string, string];
const server = await startPostgres({ folder, port: Number(port) });
await server.application.end();
process.stdout.write(`${server.url}\n`);
