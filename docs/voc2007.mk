# The paper's Table 9 on PASCAL VOC 2007, laid beside the paper's figures.   make -f docs/voc2007.mk  (or: make voc2007)
#
# Fetches VOC 2007, then every column of the table at one scale and at five. It can be stopped at any time; the same command
# goes on. NET names the network: AlexNet with torchvision's weights, or the authors' ZF-5, imported by spp import-caffe:
#   make voc2007 NET='--weights zf5.safetensors'
OUT ?= voc2007
DATA ?= $(OUT)/VOCdevkit/VOC2007
NET ?= --backbone alexnet
SCALES_1 ?= 688
SCALES_5 ?= 480,576,688,864,1200
# For finetune, train-svm and train-bbox: --recipe paper takes the paper's schedule, days on a CPU.
FINETUNE ?=
# Numbers of scales: columns of the table.
NUMBERS ?= 1 5
SPP ?= spp
PYTHON ?= python3
HERE := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))

CELLS := pool5 fc6 ft-fc6 ft-fc7 ft-fc7-bb
TABLES := $(foreach n,$(NUMBERS),$(foreach c,$(CELLS),$(OUT)/scales-$(n)/$(c)/ap.json))

table9: $(TABLES)
	$(PYTHON) $(HERE)table9.py $(OUT) $(NUMBERS)

$(OUT)/VOCdevkit/VOC2007:
	mkdir -p $(OUT)
	$(SPP) fetch voc2007 -o $(OUT)

$(OUT)/proposals.h5: | $(DATA)
	mkdir -p $(OUT)
	$(SPP) propose $(DATA) -o $@

# One column of the table at one number of scales: $(1) scales, $(2) column, $(3) layer and weights.
define column
$(OUT)/scales-$(1)/$(2)/svm.h5: $(OUT)/scales-$(1)/features.h5 $(if $(findstring ft,$(2)),$(OUT)/scales-$(1)/finetuned.safetensors)
	mkdir -p $$(@D)
	ln -sf ../../proposals.h5 ../features.h5 $$(@D)
	cd $$(@D) && $(SPP) train-svm $(3)
$(OUT)/scales-$(1)/$(2)/ap.json: $(OUT)/scales-$(1)/$(2)/svm.h5 $(if $(findstring bb,$(2)),$(OUT)/scales-$(1)/$(2)/bbox.h5)
	cd $$(@D) && $(SPP) evaluate --voc2007 --json > ap.json.part && mv ap.json.part ap.json
endef

define scales
$(OUT)/scales-$(1)/features.h5: $(OUT)/proposals.h5
	mkdir -p $$(@D)
	$(SPP) extract --proposals $(OUT)/proposals.h5 $(NET) --scales $(SCALES_$(1)) -o $$@
$(OUT)/scales-$(1)/finetuned.safetensors: $(OUT)/scales-$(1)/features.h5
	$(SPP) finetune --proposals $(OUT)/proposals.h5 --features $$< $(FINETUNE) -o $$@
$(OUT)/scales-$(1)/ft-fc7-bb/bbox.h5: $(OUT)/scales-$(1)/ft-fc7-bb/svm.h5
	cd $$(@D) && $(SPP) train-bbox
$(call column,$(1),pool5,)
$(call column,$(1),fc6,--layer fc6)
$(call column,$(1),ft-fc6,--layer fc6 --weights ../finetuned.safetensors)
$(call column,$(1),ft-fc7,--layer fc7 --weights ../finetuned.safetensors)
$(call column,$(1),ft-fc7-bb,--layer fc7 --weights ../finetuned.safetensors)
endef

$(foreach n,$(NUMBERS),$(eval $(call scales,$(n))))
.PHONY: table9
