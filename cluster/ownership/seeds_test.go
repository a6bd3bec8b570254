//go:build !race

package ownership

const defaultSeeds = 2000
