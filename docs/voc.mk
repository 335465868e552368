# make -f voc.mk DATA=VOCdevkit/VOC2007: rebuilds only what changed.
DATA ?= VOCdevkit/VOC2007
ap.json: detections.h5
	spp evaluate --voc2007 --json > $@
detections.h5: svm.h5 bbox.h5
	spp detect
%.h5: features.h5 $(wildcard $(DATA)/Annotations/*.xml $(DATA)/ImageSets/Main/*.txt)
	spp train-$*
features.h5: proposals.h5
	spp extract $(EXTRACT)
proposals.h5: $(DATA)/JPEGImages
	spp propose $(DATA)
