// Command images lays out what is in ragmesh's container images, and writes the images as archives, with no container engine and no
// registry:
//
//	images root -binary bin/ragmesh-dialog build/images/dialog
//	images archive -service dialog -root build/images/dialog -tag ragmesh/dialog:dev build/images/dialog.tar
//
// deploy/Dockerfile uses the first, which also leaves DIR.root.tar, so both ways give the same files. Owners and times in an archive are fixed:
// equal binaries make an equal image, down to its digest.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

const usage = "usage: images root -binary FILE DIR\n       images archive -service NAME -root DIR -tag REFERENCE [-version V] [-revision COMMIT] [-arch ARCH] FILE.tar"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "root":
		binary := flags.String("binary", "", "static program to run")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if *binary == "" || flags.NArg() != 1 {
			return errors.New(usage)
		}
		if err := layOut(flags.Arg(0), *binary); err != nil {
			return err
		}
		content, err := layerOf(flags.Arg(0))
		if err != nil {
			return err
		}
		return os.WriteFile(flags.Arg(0)+".root.tar", content, 0o644)
	case "archive":
		var i image
		root := flags.String("root", "", "folder that `images root` made")
		flags.StringVar(&i.service, "service", "", "service, or ragmesh")
		flags.StringVar(&i.tag, "tag", "", "name of the image, NAME:TAG")
		flags.StringVar(&i.version, "version", "dev", "version for the image's labels")
		flags.StringVar(&i.revision, "revision", "", "commit for the image's labels")
		flags.StringVar(&i.arch, "arch", "amd64", "architecture of the program")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if i.service == "" || i.tag == "" || *root == "" || flags.NArg() != 1 {
			return errors.New(usage)
		}
		digest, err := i.write(*root, flags.Arg(0))
		if err != nil {
			return err
		}
		fmt.Printf("%s %s %s\n", i.tag, digest, flags.Arg(0))
		return nil
	default:
		return errors.New(usage)
	}
}
