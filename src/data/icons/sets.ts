import { emojiOf } from './emoji.ts';
import type { IconSet } from './icon-set.ts';
import type { IconSetName } from './names.ts';
import { pictogramsOf } from './pictograms.ts';
import type { Thing } from './things.ts';

/** Where the icons of a data set come from, and which of them show one thing. */
export type IconSource = {
  readonly title: string;
  readonly download: string;
  readonly note: string;
  /** Packages of drawings, and their designers: the sets of one designer are one family. */
  readonly packages: readonly (readonly [name: string, version: string, family: string])[];
  /** Sets that must draw a thing for it to be a class. */
  readonly drawings: number;
  readonly things: (sets: readonly IconSet[], drawings: number) => Thing[];
  /** Skip pictures that two sets share. */
  readonly distinct: boolean;
  /** Digests of the images, by their side. */
  readonly pinned: Readonly<Record<number, string>>;
};

/** The sets `mixbct data get` knows. */
export const iconSources: Readonly<Record<IconSetName, IconSource>> = {
  e10: {
    title: 'E10: emoji, 10 sets of drawings from npm',
    download: '10 npm packages, 178 MB',
    note: 'emoji drawn by 10 sets of 7 designers (Apache-2.0, MIT, CC-BY-4.0, CC-BY-SA-4.0: keep the recipe, do not pass on the images)',
    packages: [
      ['noto', '1.2.9', 'google'],
      ['noto-v1', '1.2.5', 'google'],
      ['twemoji', '1.2.5', 'twitter'],
      ['openmoji', '1.2.29', 'openmoji'],
      ['fluent-emoji', '1.2.7', 'microsoft'],
      ['fluent-emoji-flat', '1.2.6', 'microsoft'],
      ['emojione', '1.2.3', 'emojione'],
      ['emojione-v1', '1.2.3', 'emojione'],
      ['fxemoji', '1.2.2', 'mozilla'],
      ['streamline-emojis', '1.2.4', 'streamline'],
    ],
    drawings: 4,
    things: emojiOf,
    distinct: false,
    pinned: { 32: '9519aebeb7a61f6c' },
  },
  i40: {
    title: 'I40: icons of user interfaces, 40 sets of drawings from npm',
    download: '40 npm packages, 66 MB',
    note: 'icons drawn by 40 designers (MIT, Apache-2.0, ISC, OFL-1.1, CC-BY-4.0: keep the recipe, do not pass on the images)',
    packages: (
      [
        ['ant-design', '1.2.9'],
        ['bi', '1.2.7'],
        ['boxicons', '1.2.0'],
        ['carbon', '1.2.29'],
        ['cil', '1.2.3'],
        ['clarity', '1.2.4'],
        ['fa7-solid', '1.2.5'],
        ['fluent', '1.2.60'],
        ['fontisto', '1.2.1'],
        ['gg', '1.2.2'],
        ['gravity-ui', '1.2.15'],
        ['griddy-icons', '1.2.0'],
        ['grommet-icons', '1.2.4'],
        ['hugeicons', '1.2.35'],
        ['ic', '1.2.4'],
        ['icon-park-outline', '1.2.4'],
        ['iconoir', '1.2.11'],
        ['ion', '1.2.7'],
        ['jam', '1.2.3'],
        ['la', '1.2.1'],
        ['lineicons', '1.2.6'],
        ['lucide', '1.2.137'],
        ['mage', '1.2.4'],
        ['mdi', '1.2.3'],
        ['meteor-icons', '1.2.8'],
        ['mingcute', '1.2.8'],
        ['mynaui', '1.2.19'],
        ['ph', '1.2.2'],
        ['picon', '1.2.0'],
        ['pixelarticons', '1.2.9'],
        ['prime', '1.2.5'],
        ['proicons', '1.2.20'],
        ['ri', '1.2.10'],
        ['solar', '1.2.13'],
        ['tabler', '1.2.41'],
        ['tdesign', '1.2.19'],
        ['teenyicons', '1.2.2'],
        ['uil', '1.2.3'],
        ['vaadin', '1.2.1'],
        ['whh', '1.2.0'],
      ] as const
    ).map(([name, version]) => [name, version, name] as const), // each by a designer of its own
    drawings: 6,
    things: pictogramsOf,
    distinct: true,
    pinned: { 32: 'e6699e0088f1490e' },
  },
};
