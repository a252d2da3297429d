import samples
from samples import Sample

def test_x(keras_sample: Sample, module_sample: Sample) -> None:
    import time
    for s in keras_sample, module_sample:
        for t, vs in [("saved_model",["default"]),("tflite",["float32","float16","dynamic","int8"]),("hdf5",["model" if s is keras_sample else "weights"]),("serving",["default"])]:
            for v in vs:
                a=time.time()
                c = samples.converted(s,t,v)
                b=time.time()
                rows = c.check()
                print(t, v, b-a, time.time()-b)
                for r in rows:
                    print("   ", r.status, r.reason, [(x.name,x.measured,x.limit,x.detail) for x in r.checks])
