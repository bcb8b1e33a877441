import { spawnSync } from 'node:child_process';

const moduleOf = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;

/** What a process prints as its error in which packages are not installed, and which calls a function of a compiled module. */
export function runWithout(packages: readonly string[], module: URL, call: string): string {
  const hook = `export const resolve = (name, context, next) => {
    if (${JSON.stringify(packages)}.includes(name)) throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });
    return next(name, context);
  };`;
  const register = moduleOf(`import { register } from 'node:module'; register(${JSON.stringify(moduleOf(hook))});`);
  const program = `const tried = await import(${JSON.stringify(module.href)}); await tried.${call};`;
  return spawnSync(process.execPath, ['--import', register, '--input-type=module', '-e', program], { encoding: 'utf8' }).stderr; // biome-ignore format: short
}
